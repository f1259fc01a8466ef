//! The mesh as its users see it: real servers on loopback, steered by YAML.
#![allow(clippy::unwrap_used, reason = "a test that unwraps names its own failure")]

mod admin;
mod article;
mod bad_input;
mod build;
mod directory;
mod ejections;
mod gateway;
mod grpc;
mod health_checks;
mod lifecycle;
mod names;
mod outcomes;
mod routing;
mod rules;
mod support;
