//! What controllers promise that look after some namespaces only, several of
//! them beside each other, each with no more than the rights of its own
//! `ServiceAccount`.

mod overlay;
mod partial;
mod side_by_side;
mod support;
