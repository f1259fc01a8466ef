//! The report for programs. Keys are only ever added.

use serde_json::{Value, json};

use super::Report;
use crate::remark::Remark;

pub(super) fn print(report: &Report, good: bool) -> String {
    let value = json!({
        "good": good,
        "files": report.files,
        "objects": report.objects,
        "namespaces": report.namespaces,
        "resources": report.resources,
        "remarks": report.remarks.iter().map(remark).collect::<Vec<_>>(),
    });
    format!("{value:#}\n")
}

fn remark(remark: &Remark) -> Value {
    let finding = &remark.finding;
    json!({
        "severity": finding.severity.as_str(),
        "code": finding.code,
        "file": &*finding.file,
        "line": finding.line,
        "object": finding.object.as_ref().map(ToString::to_string),
        "field": finding.field,
        "reason": finding.reason,
        "weakens_security": finding.weakens_security(),
        "resources": remark.resources,
    })
}
