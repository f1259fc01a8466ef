//! `/coverage`: what was received and is not in force. Nothing is dropped in silence, and this is where it is
//! said: Istio objects with findings, resources that were refused, and fields without effect.

use std::collections::BTreeMap;
use std::fmt::Write;

use mesh_core::resource::ResourceName;
use mesh_core::snapshot::status::StatusBoard;
use mesh_istio::{Finding, Severity};
use serde_json::{Value, json};

use super::Page;
use super::query::Query;
use crate::view::View;

pub(super) fn page(view: &View, query: &Query) -> Page {
    let findings = view.findings();
    let board = view.board().clone();
    let coverage = Coverage::of(&findings, &board);
    if query.wants_json() { Page::json(&coverage.json()) } else { Page::text(coverage.text()) }
}

const SEVERITIES: [Severity; 4] = [Severity::Refused, Severity::Warning, Severity::NotInForce, Severity::Note];

struct Coverage<'a> {
    findings: &'a [Finding],
    in_force: usize,
    /// Refused resources, why, and whether an older version is in force.
    refused: Vec<(&'a ResourceName, String, bool)>,
    /// Fields without effect, and the resources that set them.
    fields: BTreeMap<(String, String), Vec<(&'a ResourceName, &'a str)>>,
}

impl<'a> Coverage<'a> {
    fn of(findings: &'a [Finding], board: &'a StatusBoard) -> Self {
        let (mut in_force, mut refused, mut fields) = (0, Vec::new(), BTreeMap::<_, Vec<_>>::new());
        for (name, status) in board.iter() {
            if let Some((_, invalid)) = &status.refused {
                refused.push((name, format!("{}: {}", invalid.field, invalid.problem), status.in_force.is_some()));
            }
            let Some(current) = &status.in_force else { continue };
            in_force += 1;
            for line in current.not_in_force.iter() {
                let (path, what) = line.split_once(": ").unwrap_or(("", line));
                let what = what.split_once(" (and ").map_or(what, |(what, _)| what);
                fields.entry((name.kind.to_string(), what.to_owned())).or_default().push((name, path));
            }
        }
        Self { findings, in_force, refused, fields }
    }

    fn with(&self, severity: Severity) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(move |finding| finding.severity == severity)
    }

    fn text(&self) -> String {
        let mut out = String::new();
        // Writing to a String does not fail.
        let _ = writeln!(out, "resources in force: {}, refused: {}", self.in_force, self.refused.len());
        for severity in SEVERITIES {
            let count = self.with(severity).count();
            let _ = writeln!(out, "\nobjects: {} ({count})", severity.as_str());
            for finding in self.with(severity) {
                let _ = writeln!(out, "  {finding}");
            }
        }
        let _ = writeln!(out, "\nresources: refused ({})", self.refused.len());
        for (name, why, kept) in &self.refused {
            let kept = if *kept { "the last good version is in force" } else { "nothing is in force" };
            let _ = writeln!(out, "  {name}: {why} ({kept})");
        }
        let _ = writeln!(out, "\nfields: not in force ({})", self.fields.len());
        for ((kind, what), places) in &self.fields {
            let (resource, path) = places[0];
            let _ =
                writeln!(out, "  {kind}: {what} (in {} resources, such as {}: {path})", places.len(), resource.name);
        }
        out
    }

    fn json(&self) -> Value {
        let finding = |finding: &Finding| {
            json!({
                "file": &*finding.file,
                "line": finding.line,
                "severity": finding.severity.as_str(),
                "code": finding.code,
                "object": finding.object.as_ref().map(ToString::to_string),
                "field": finding.field,
                "reason": finding.reason,
            })
        };
        let refused = |(name, why, kept): &(&ResourceName, String, bool)| json!({ "resource": name.to_string(), "reason": why, "last_good_in_force": kept });
        let field = |((kind, what), places): (&(String, String), &Vec<(&ResourceName, &str)>)| {
            let places: Vec<_> =
                places.iter().map(|(name, path)| json!({ "resource": &*name.name, "field": path })).collect();
            json!({ "kind": kind, "what": what, "places": places })
        };
        json!({
            "in_force": self.in_force,
            "findings": self.findings.iter().map(finding).collect::<Vec<_>>(),
            "refused": self.refused.iter().map(refused).collect::<Vec<_>>(),
            "not_in_force": self.fields.iter().map(field).collect::<Vec<_>>(),
        })
    }
}
