//! The request path: Tower layers, connection pools and bodies.
