//! `mesh check`: everything there is to say of a folder, and whether it is good enough.
//!
//! Objects are judged as such and by what becomes of them for a workload in each namespace that they name.

mod json;
mod text;

use std::collections::BTreeSet;

use mesh_istio::{LoadOptions, Severity, World};

use crate::Outcome;
use crate::args::{CheckArgs, Format};
use crate::folder;
use crate::judged::Judged;
use crate::remark::{self, Remark};

/// What was found.
#[derive(Debug)]
struct Report {
    files: usize,
    objects: usize,
    namespaces: usize,
    /// Resources in force, counted in every namespace.
    resources: usize,
    remarks: Vec<Remark>,
}

impl Report {
    fn with(&self, severity: Severity) -> impl Iterator<Item = &Remark> {
        self.remarks.iter().filter(move |remark| remark.finding.severity == severity)
    }

    fn has(&self, severity: Severity) -> bool {
        self.with(severity).next().is_some()
    }

    fn is_good(&self, strict: bool) -> bool {
        let unprotected = || self.remarks.iter().any(|remark| remark.finding.weakens_security());
        !self.has(Severity::Refused) && !(strict && (self.has(Severity::Warning) || unprotected()))
    }
}

pub(crate) fn run(args: &CheckArgs) -> Result<Outcome, String> {
    let folder = folder::read(&args.path)?;
    let (proxy, mesh) = (args.mesh.proxy(), args.mesh.config());
    let mut options = LoadOptions::default();
    options.namespace.clone_from(&proxy.namespace);
    let world = World::load_with(&folder.files, &options);
    let mut namespaces: BTreeSet<&str> = world.objects().iter().map(|object| &*object.id.namespace).collect();
    namespaces.insert(&proxy.namespace);
    let judged: Vec<_> = namespaces
        .iter()
        .map(|namespace| {
            let mut proxy = proxy.clone();
            proxy.namespace = (*namespace).to_owned();
            Judged::new(&world, &proxy, &mesh)
        })
        .collect();
    let report = Report {
        files: folder.files.len() + folder.unreadable.len(),
        objects: world.objects().len(),
        namespaces: namespaces.len(),
        resources: judged.iter().map(|judged| judged.accepted).sum(),
        remarks: remark::all(&folder, &world, &mesh, &judged),
    };
    let good = report.is_good(args.strict);
    let text = match args.format {
        Format::Text => text::print(&report),
        Format::Json => json::print(&report, good),
    };
    Ok(Outcome { text, good, aside: String::new() })
}
