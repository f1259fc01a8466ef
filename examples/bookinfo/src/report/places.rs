//! Where to look and what to edit.

use std::fmt::Write as _;

use crate::Bookinfo;

/// The addresses of all instances and their admin pages, and the file to edit.
#[must_use]
pub fn places(bookinfo: &Bookinfo) -> String {
    let mut text = format!("{:<16} {:<40} admin page\n", "instance", "serves");
    let mut page = None;
    for (workload, address, admin) in bookinfo.places() {
        let admin = admin.map_or_else(|| "(outside the mesh)".to_owned(), |admin| format!("http://{admin}/"));
        let path = match workload.app {
            crate::topology::App::Productpage => "/productpage/0",
            _ => "",
        };
        let url = format!("http://{address}{path}");
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{:<16} {url:<40} {admin}", workload.name());
        page.get_or_insert(url);
    }
    let _ = writeln!(text, "\nopen  {}", page.unwrap_or_default());
    let _ = writeln!(text, "edit  {}  while it runs, and watch the shares", bookinfo.folder().reviews().display());
    text
}
