//! The folder of Istio YAML that all instances watch: the files shipped with the example, and the endpoints of this run.
//!
//! A folder that the user names keeps whatever is in it; only `endpoints.yaml` is written anew.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::{fs, io};

use tempfile::TempDir;

use crate::topology::Workload;

/// The VirtualService and DestinationRule of reviews: the file to edit.
pub const REVIEWS: &str = "reviews.yaml";
const ENDPOINTS: &str = "endpoints.yaml";

/// What ships with the example.
const SHIPPED: [(&str, &str); 3] = [
    ("services.yaml", include_str!("../mesh/services.yaml")),
    (REVIEWS, include_str!("../mesh/reviews.yaml")),
    ("others.yaml", include_str!("../mesh/others.yaml")),
];

/// The folder; a temporary one is removed with it.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    _temporary: Option<TempDir>,
}

impl Folder {
    /// A fresh folder that is removed at the end.
    ///
    /// # Errors
    /// It cannot be made or written.
    pub fn temporary() -> io::Result<Self> {
        let made = tempfile::Builder::new().prefix("bookinfo-").tempdir()?;
        let folder = Self { path: made.path().to_owned(), _temporary: Some(made) };
        folder.ship()?;
        Ok(folder)
    }

    /// A folder of the user's, made if it is missing. One that has YAML in it is used as it is.
    ///
    /// # Errors
    /// It cannot be read, made or written.
    pub fn at(path: &Path) -> io::Result<Self> {
        fs::create_dir_all(path)?;
        let folder = Self { path: path.to_owned(), _temporary: None };
        let mut has_yaml = false;
        for entry in fs::read_dir(path)? {
            has_yaml |= entry?.path().extension().is_some_and(|extension| extension == "yaml");
        }
        if !has_yaml {
            folder.ship()?;
        }
        Ok(folder)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file to edit.
    #[must_use]
    pub fn reviews(&self) -> PathBuf {
        self.path.join(REVIEWS)
    }

    /// Replaces a file whole, as most editors do: nobody sees it half written.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn replace(&self, name: &str, text: &str) -> io::Result<()> {
        let unfinished = self.path.join(format!(".{name}.tmp"));
        fs::write(&unfinished, text)?;
        fs::rename(unfinished, self.path.join(name))
    }

    /// Says where the instances listen.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_endpoints(&self, endpoints: &[(Workload, SocketAddr)]) -> io::Result<()> {
        self.replace(ENDPOINTS, &workload_entries(endpoints))
    }

    fn ship(&self) -> io::Result<()> {
        SHIPPED.iter().try_for_each(|(name, text)| self.replace(name, text))
    }
}

/// A WorkloadEntry for each instance. (A Kubernetes cluster would have Pods and EndpointSlices here; all pods of a
/// Service share one port there, and these cannot, since they share one address.)
fn workload_entries(endpoints: &[(Workload, SocketAddr)]) -> String {
    let mut text = String::from("# Written at every start: where the instances of this run listen.\n");
    for (workload, address) in endpoints {
        let Workload { app, version, .. } = workload;
        let (name, app_name, port_name) = (workload.name(), app.name(), app.port_name());
        let (ip, port) = (address.ip(), address.port());
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "\
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata:
  name: {name}
  namespace: default
spec:
  address: {ip}
  ports: {{{port_name}: {port}}}
  labels: {{app: {app_name}, version: {version}}}
"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
    use super::*;

    #[test]
    fn a_folder_with_yaml_in_it_is_left_as_it_is() {
        let user = tempfile::tempdir().unwrap();
        fs::write(user.path().join("mine.yaml"), "# mine\n").unwrap();
        let folder = Folder::at(user.path()).unwrap();
        assert!(!folder.reviews().exists());
        assert_eq!(fs::read_to_string(user.path().join("mine.yaml")).unwrap(), "# mine\n");
    }

    #[test]
    fn an_empty_folder_gets_what_ships() {
        let user = tempfile::tempdir().unwrap();
        let folder = Folder::at(&user.path().join("new")).unwrap();
        assert!(fs::read_to_string(folder.reviews()).unwrap().contains("weight: 80"));
    }
}
