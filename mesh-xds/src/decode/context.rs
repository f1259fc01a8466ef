//! What a decoder notes besides the value: settings that were given and have no effect here.
//!
//! Two sources flow together: what decoders say (a policy replaced by another, a filter left out) and the walk over the
//! wire bytes that finds fields nobody reads. The same remark about many places is one line with a count: a
//! route table of a thousand routes gives one line per field, not a thousand.

use std::collections::BTreeMap;

use mesh_proto::mixer;
use mesh_proto::type_url::type_name;
use mesh_proto::unknown::{Unread, UnreadField};

use super::refused::At;

/// Collects remarks while one resource is decoded.
#[derive(Debug, Default)]
pub(super) struct Context {
    remarks: Vec<Remark>,
}

#[derive(Debug)]
struct Remark {
    path: String,
    what: String,
    /// Fields below the path need no remark of their own.
    covers: bool,
}

impl Context {
    /// Notes that a field is not in force, and what happens instead.
    pub(super) fn not_in_force(&mut self, at: &At<'_>, what: impl Into<String>) {
        self.push(at, what, false);
    }

    /// Notes that everything below a field is left out.
    pub(super) fn left_out(&mut self, at: &At<'_>, what: impl Into<String>) {
        self.push(at, what, true);
    }

    fn push(&mut self, at: &At<'_>, what: impl Into<String>, covers: bool) {
        self.remarks.push(Remark { path: at.to_string(), what: what.into(), covers });
    }

    /// All remarks, those of the walk included, equal ones folded into the first.
    pub(super) fn into_lines(self, unread: Vec<UnreadField>) -> Vec<String> {
        let covered: Vec<&str> = self.remarks.iter().filter(|one| one.covers).map(|one| one.path.as_str()).collect();
        let below = |path: &str| {
            covered.iter().any(|prefix| {
                path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
            })
        };
        // Types of our own have no descriptor, and are read whole.
        let ours = |what: &Unread| matches!(what, Unread::Type { type_url } if type_name(type_url) == mixer::TYPE);
        let unread = unread.into_iter().filter(|field| !below(&field.path) && !ours(&field.what)).map(|field| {
            let what = describe(&field.what);
            (field.path, what)
        });
        let remarks = self.remarks.iter().map(|remark| (remark.path.clone(), remark.what.clone()));
        fold(remarks.chain(unread))
    }
}

fn describe(unread: &Unread) -> String {
    match unread {
        Unread::Field { message, field } => format!("{}.{field} is not in force", short(message)),
        Unread::Number { message, number } => format!("field {number} is unknown in {message}"),
        Unread::Name { message, name } => format!("{name} is unknown in {message}"),
        Unread::Type { type_url } => format!("type {type_url:?} is unknown"),
    }
}

fn short(message: &str) -> &str {
    message.rsplit_once('.').map_or(message, |(_, name)| name)
}

/// `first path: what (and N more)`, in the order of first appearance.
fn fold(remarks: impl Iterator<Item = (String, String)>) -> Vec<String> {
    let mut order: Vec<(String, String, usize)> = Vec::new();
    let mut known: BTreeMap<String, usize> = BTreeMap::new();
    for (path, what) in remarks {
        match known.get(&what) {
            Some(&at) => order[at].2 += 1,
            None => {
                known.insert(what.clone(), order.len());
                order.push((path, what, 0));
            }
        }
    }
    let line = |(path, what, more): (String, String, usize)| {
        let path = if path.is_empty() { "(resource)".to_owned() } else { path };
        if more == 0 { format!("{path}: {what}") } else { format!("{path}: {what} (and {more} more)") }
    };
    order.into_iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_remarks_fold_and_what_is_left_out_covers_its_fields() {
        let mut cx = Context::default();
        let root = At::ROOT;
        let list = root.field("http_filters");
        cx.left_out(&list.index(0), "filter is not in force");
        cx.left_out(&list.index(1), "filter is not in force");
        let field = |path: &str| UnreadField {
            path: path.to_owned(),
            what: Unread::Field { message: "a.b.Fault".to_owned(), field: "abort".to_owned() },
        };
        let lines = cx.into_lines(vec![field("http_filters[0].typed_config.abort"), field("http_filters[10].abort")]);
        assert_eq!(
            lines,
            [
                "http_filters[0]: filter is not in force (and 1 more)",
                "http_filters[10].abort: Fault.abort is not in force"
            ]
        );
    }
}
