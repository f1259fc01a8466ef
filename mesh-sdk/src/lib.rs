//! The mesh in your process: build one, wrap your clients and servers.
