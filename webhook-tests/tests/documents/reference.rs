//! The reference of the custom resources is made of their definitions.

use webhook_tests::documents::document;
use webhook_tests::reference::{REFERENCE, definitions, render};

#[test]
fn the_reference_is_what_the_types_say() {
    let made = render(&definitions().expect("definitions"));
    let kept = document(REFERENCE);
    let differs = made.lines().zip(kept.lines()).find(|(made, kept)| made != kept);
    assert_eq!(differs, None, "run `make manifests`");
    assert_eq!(made.lines().count(), kept.lines().count(), "run `make manifests`");
}
