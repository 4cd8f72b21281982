//! The names of everything that a set consists of.

/// Kind and name of one object.
pub type Object = (&'static str, String);

/// What exists once for partition `index` of a set, the Partition first. Those
/// after it are the Partition's own.
pub fn of_partition(set: &str, index: u32) -> Vec<Object> {
    let name = format!("{set}-{index}");
    vec![
        ("partition", name.clone()),
        ("configmap", format!("{name}-config")),
        ("statefulset", name.clone()),
        ("service", name.clone()),
        ("service", format!("{name}-hs")),
        ("poddisruptionbudget", format!("{name}-pdb")),
    ]
}

/// What exists once for the whole set.
pub fn of_group(set: &str) -> Vec<Object> {
    vec![("service", set.to_owned()), ("endpointslice", format!("{set}-ipv4")), ("endpoints", set.to_owned())]
}
