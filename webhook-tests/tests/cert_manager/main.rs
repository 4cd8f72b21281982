//! The webhooks with certificates of the real cert-manager, as the shipped overlay sets it up.

mod load;
mod moving;
mod overlay;
mod renewals;
mod support;
mod wire;
