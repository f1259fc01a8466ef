//! `cargo xtask descriptors`: compiles the `.proto` files that ship inside the envoy-types package, and the few that
//! mesh-proto declares itself, into one gzipped `FileDescriptorSet`.
//!
//! Type names are made absolute first (`qualify`), because protox alone resolves some of Envoy's relative names otherwise than
//! protoc does. Source comments are dropped, options (validation rules, sensitivity) kept. The same inputs give the same bytes.

mod qualify;

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use protox::Compiler;
use protox::file::{ChainFileResolver, GoogleFileResolver, IncludeFileResolver};

use self::qualify::Qualified;
use crate::{Mode, Outcome, workspace};

/// The package whose `proto` folder is compiled.
const PACKAGE: &str = "envoy-types";

/// The include paths within that folder; a `.proto` file outside of them is an error, lest a new one is missed.
const INCLUDES: &[&str] = &[
    "cel-spec/proto",
    "client_model",
    "data-plane-api",
    "googleapis",
    "opentelemetry-proto",
    "protoc-gen-validate",
    "ratelimit/api",
    "xds",
];

/// Roots that the compiler brings along.
const WELL_KNOWN: &[&str] = &[
    "google/protobuf/any.proto",
    "google/protobuf/descriptor.proto",
    "google/protobuf/duration.proto",
    "google/protobuf/empty.proto",
    "google/protobuf/field_mask.proto",
    "google/protobuf/struct.proto",
    "google/protobuf/timestamp.proto",
    "google/protobuf/wrappers.proto",
];

pub(crate) fn run(mode: Mode) -> Outcome {
    let target = workspace().join("mesh-proto/descriptors.bin.gz");
    let set = compile()?;
    match mode {
        Mode::Write => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
            encoder.write_all(&set)?;
            let packed = encoder.finish()?;
            fs::write(&target, &packed)?;
            println!("{}: {} bytes, {} packed", target.display(), set.len(), packed.len());
            Ok(())
        }
        Mode::Check => {
            let mut committed = Vec::new();
            GzDecoder::new(fs::File::open(&target)?).read_to_end(&mut committed)?;
            if committed == set {
                println!("{} is fresh", target.display());
                Ok(())
            } else {
                Err(format!("{} is stale: run `cargo xtask descriptors`", target.display()).into())
            }
        }
    }
}

/// The encoded `FileDescriptorSet`, each file after those it imports.
fn compile() -> Result<Vec<u8>, Box<dyn Error>> {
    let shipped = package_folder(PACKAGE)?.join("proto");
    let own = workspace().join("mesh-proto/proto");
    let mut includes: Vec<PathBuf> = INCLUDES.iter().map(|include| shipped.join(include)).collect();
    let mut roots = import_names(&shipped, &includes)?;
    includes.push(own.clone());
    roots.extend(import_names(&own, &includes)?);
    roots.extend(WELL_KNOWN.iter().map(|&root| root.to_owned()));

    let mut resolver = ChainFileResolver::new();
    for include in &includes {
        resolver.add(IncludeFileResolver::new(include.clone()));
    }
    resolver.add(GoogleFileResolver::new());
    let mut compiler = Compiler::with_file_resolver(Qualified::new(resolver));
    compiler.include_imports(true).include_source_info(false).open_files(&roots)?;
    println!("{} roots, {} files", roots.len(), compiler.files().len());
    Ok(compiler.encode_file_descriptor_set())
}

/// Where cargo keeps the sources of a package of this workspace's lock file.
fn package_folder(name: &str) -> Result<PathBuf, Box<dyn Error>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--locked"])
        .current_dir(workspace())
        .output()?;
    if !output.status.success() {
        return Err(format!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let packages = metadata["packages"].as_array().ok_or("cargo metadata: no packages")?;
    let manifest = packages
        .iter()
        .find(|package| package["name"] == name)
        .and_then(|package| package["manifest_path"].as_str())
        .ok_or_else(|| format!("{name} is not in the lock file"))?;
    Ok(Path::new(manifest).parent().ok_or("a manifest without a folder")?.to_owned())
}

/// The `.proto` files below `folder`, named as an `import` names them, sorted.
fn import_names(folder: &Path, includes: &[PathBuf]) -> Result<BTreeSet<String>, Box<dyn Error>> {
    let mut names = BTreeSet::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "proto") {
                let name = includes
                    .iter()
                    .find_map(|include| path.strip_prefix(include).ok())
                    .and_then(Path::to_str)
                    .ok_or_else(|| format!("{} is under no include path", path.display()))?;
                names.insert(name.replace('\\', "/"));
            }
        }
    }
    Ok(names)
}
