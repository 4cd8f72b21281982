//! The Helm chart: what it makes of its values, and the life of a release on a real control plane, with Helm 3 and 4.

mod adoption;
mod release;
mod rendering;
mod support;
mod values;
