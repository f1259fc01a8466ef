//! Makes the type names in `.proto` files absolute before they reach the compiler, by protoc's rule.
//!
//! A relative name is looked up from the innermost scope outwards, and protoc sees only what the file imports directly (or
//! through `import public`). protox sees everything compiled so far: there `common.dynamic_forward_proxy.v3.X`, written in
//! `envoy.extensions.clusters.dynamic_forward_proxy.v3`, meets the package `envoy.extensions.clusters.common` of a file that was
//! never imported, and fails. A name that is not found is left alone for the compiler to complain about.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::rc::Rc;

use prost_types::{DescriptorProto, FileDescriptorProto};
use protox::Error;
use protox::file::{File, FileResolver};

/// A resolver whose files refer to types by absolute names only.
pub(super) struct Qualified<R> {
    inner: R,
    seen: RefCell<HashMap<String, Rc<Declared>>>,
}

/// What one file declares.
struct Declared {
    /// Messages and enums, and the packages around them.
    names: HashSet<String>,
    public_imports: Vec<String>,
}

impl<R: FileResolver> Qualified<R> {
    pub(super) fn new(inner: R) -> Self {
        Self { inner, seen: RefCell::default() }
    }

    fn declared(&self, name: &str) -> Result<Rc<Declared>, Error> {
        if let Some(known) = self.seen.borrow().get(name) {
            return Ok(Rc::clone(known));
        }
        let declared = Rc::new(Declared::of(self.inner.open_file(name)?.file_descriptor_proto()));
        self.seen.borrow_mut().insert(name.to_owned(), Rc::clone(&declared));
        Ok(declared)
    }

    /// The files whose names `file` may use: itself, its imports, and what those import publicly.
    fn visible(&self, file: &FileDescriptorProto) -> Result<Visible, Error> {
        let mut visible = vec![Rc::new(Declared::of(file))];
        let mut queue = file.dependency.clone();
        let mut queued: HashSet<String> = queue.iter().cloned().collect();
        while let Some(import) = queue.pop() {
            let declared = self.declared(&import)?;
            queue.extend(declared.public_imports.iter().filter(|name| queued.insert((*name).clone())).cloned());
            visible.push(declared);
        }
        Ok(Visible(visible))
    }
}

impl<R: FileResolver> FileResolver for Qualified<R> {
    fn resolve_path(&self, path: &Path) -> Option<String> {
        self.inner.resolve_path(path)
    }

    fn open_file(&self, name: &str) -> Result<File, Error> {
        let mut file = self.inner.open_file(name)?.file_descriptor_proto().clone();
        let visible = self.visible(&file)?;
        let package = file.package().to_owned();
        for message in &mut file.message_type {
            visible.qualify_message(&package, message);
        }
        for extension in &mut file.extension {
            visible.qualify(&package, &mut extension.type_name);
            visible.qualify(&package, &mut extension.extendee);
        }
        for method in file.service.iter_mut().flat_map(|service| &mut service.method) {
            visible.qualify(&package, &mut method.input_type);
            visible.qualify(&package, &mut method.output_type);
        }
        file.source_code_info = None;
        Ok(File::from_file_descriptor_proto(file))
    }
}

impl Declared {
    fn of(file: &FileDescriptorProto) -> Self {
        let mut names = HashSet::new();
        let package = file.package();
        names.extend(package.match_indices('.').map(|(end, _)| package[..end].to_owned()));
        names.insert(package.to_owned());
        names.extend(file.enum_type.iter().map(|item| join(package, item.name())));
        for message in &file.message_type {
            declare(package, message, &mut names);
        }
        let public_imports = file
            .public_dependency
            .iter()
            .filter_map(|&index| file.dependency.get(usize::try_from(index).ok()?).cloned())
            .collect();
        Self { names, public_imports }
    }
}

fn declare(scope: &str, message: &DescriptorProto, names: &mut HashSet<String>) {
    let name = join(scope, message.name());
    names.extend(message.enum_type.iter().map(|item| join(&name, item.name())));
    for nested in &message.nested_type {
        declare(&name, nested, names);
    }
    names.insert(name);
}

struct Visible(Vec<Rc<Declared>>);

impl Visible {
    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|file| file.names.contains(name))
    }

    fn qualify_message(&self, scope: &str, message: &mut DescriptorProto) {
        let scope = join(scope, message.name());
        for field in message.field.iter_mut().chain(&mut message.extension) {
            self.qualify(&scope, &mut field.type_name);
            self.qualify(&scope, &mut field.extendee);
        }
        for nested in &mut message.nested_type {
            self.qualify_message(&scope, nested);
        }
    }

    fn qualify(&self, scope: &str, name: &mut Option<String>) {
        if let Some(found) = name.as_deref().and_then(|name| self.find(scope, name)) {
            *name = Some(format!(".{found}"));
        }
    }

    /// The absolute name of `name` as seen from `scope`: the innermost scope that has its first part decides.
    fn find(&self, scope: &str, name: &str) -> Option<String> {
        if name.starts_with('.') {
            return None;
        }
        let first = name.split('.').next().unwrap_or(name);
        let mut scope = scope;
        loop {
            if self.has(&join(scope, first)) {
                return Some(join(scope, name)).filter(|found| self.has(found));
            }
            if scope.is_empty() {
                return None;
            }
            scope = scope.rsplit_once('.').map_or("", |(outer, _)| outer);
        }
    }
}

fn join(scope: &str, name: &str) -> String {
    if scope.is_empty() { name.to_owned() } else { format!("{scope}.{name}") }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failing test is what unwrap is for")]

    use super::*;

    struct Files(&'static [(&'static str, &'static str)]);

    impl FileResolver for Files {
        fn open_file(&self, name: &str) -> Result<File, Error> {
            let (_, source) =
                self.0.iter().find(|(known, _)| *known == name).ok_or_else(|| Error::file_not_found(name))?;
            File::from_source(name, source)
        }
    }

    fn type_of_field(files: &'static [(&str, &str)], name: &str) -> String {
        let file = Qualified::new(Files(files)).open_file(name).unwrap();
        file.file_descriptor_proto().message_type[0].field[0].type_name().to_owned()
    }

    #[test]
    fn a_package_of_a_file_that_is_only_imported_indirectly_hides_nothing() {
        let files = &[
            ("common.proto", "syntax = \"proto3\"; package a.common.x; message M {}"),
            ("inner.proto", "syntax = \"proto3\"; package a.b.common.y; message N {}"),
            ("middle.proto", "syntax = \"proto3\"; package a.m; import \"inner.proto\"; message O {}"),
            (
                "root.proto",
                "syntax = \"proto3\"; package a.b.c; import \"common.proto\"; import \"middle.proto\";
                 message R { common.x.M m = 1; }",
            ),
        ];
        assert_eq!(type_of_field(files, "root.proto"), ".a.common.x.M");
    }

    #[test]
    fn the_innermost_scope_that_has_the_first_part_decides() {
        let files =
            &[("root.proto", "syntax = \"proto3\"; package a.b; message R { T t = 1; message T {} } message T {}")];
        assert_eq!(type_of_field(files, "root.proto"), ".a.b.R.T");
    }

    #[test]
    fn a_public_import_is_seen_through() {
        let files = &[
            ("inner.proto", "syntax = \"proto3\"; package p; message N {}"),
            ("middle.proto", "syntax = \"proto3\"; package q; import public \"inner.proto\";"),
            ("root.proto", "syntax = \"proto3\"; package r; import \"middle.proto\"; message R { p.N n = 1; }"),
        ];
        assert_eq!(type_of_field(files, "root.proto"), ".p.N");
    }

    #[test]
    fn an_unknown_name_is_left_for_the_compiler() {
        let files = &[("root.proto", "syntax = \"proto3\"; package r; message R { p.N n = 1; }")];
        assert_eq!(type_of_field(files, "root.proto"), "p.N");
    }
}
