//! The report for people: a section for each severity, a line for each remark, a line that sums up.

use mesh_istio::Severity;

use super::Report;
use crate::page::{Table, count};

/// Sections in the order of urgency. Objects that are nobody's business here are only counted.
const SECTIONS: [(Severity, &str); 3] =
    [(Severity::Refused, "refused"), (Severity::Warning, "warnings"), (Severity::NotInForce, "not in force")];

pub(super) fn print(report: &Report) -> String {
    let mut text = String::new();
    for (severity, title) in SECTIONS {
        let mut table = Table::default();
        for remark in report.with(severity) {
            let mark = if remark.finding.weakens_security() { " (protects nothing)" } else { "" };
            table.row([remark.place(), remark.subject(), format!("{}{mark}", remark.text())]);
        }
        if !table.is_empty() {
            text.push_str(&format!("{title}\n{}\n", table.lines("  ")));
        }
    }
    text.push_str(&summary(report));
    text.push('\n');
    text
}

fn summary(report: &Report) -> String {
    let number = |severity| report.with(severity).count();
    let mut text = format!(
        "{}, {} in {}: {} refused, {}, {} not in force",
        count(report.files, "file", "files"),
        count(report.objects, "object", "objects"),
        count(report.namespaces, "namespace", "namespaces"),
        number(Severity::Refused),
        count(number(Severity::Warning), "warning", "warnings"),
        number(Severity::NotInForce),
    );
    let passed_over = number(Severity::Note);
    if passed_over > 0 {
        text.push_str(&format!(" ({} of no concern passed over)", count(passed_over, "object", "objects")));
    }
    text
}
