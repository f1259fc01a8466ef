//! The rules of the mesh: resources, engines, snapshots and the life of a request. Pure.
