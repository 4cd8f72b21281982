//! The record of an election is the Partition's, and hard to spoil.

use serde_json::{Value, json};

use crate::support::{SOON, Set, ground, short};

/// Edits the record by hand; returns what kubectl said.
fn edit(set: &Set, election: &Value) -> Result<String, String> {
    let patch = json!({"status": {"election": election}}).to_string();
    let arguments = ["patch", "partition", "w-1", "--subresource=status", "--type=merge", "-p", &patch];
    let output = set.kubectl().run(&arguments);
    if output.status.success() { Ok(output.stdout) } else { Err(output.stderr) }
}

#[test]
fn nobody_can_make_a_term_fall_or_give_it_a_second_primary() {
    let ground = ground();
    let set = ground.set("falls", 1, 2);
    drop(set.stand(&ground.replicas[0], 1, 0, "1 w-1-0"));
    set.await_record(1, SOON, |record| record["candidates"] == json!([]));
    let second = set.stand(&ground.replicas[1], 1, 1, "2 w-1-1");
    for (election, why) in [
        (json!({"term": 1}), "must not be less than it was"),
        (json!({"primary": "w-1-0"}), "cannot become another member in the same term"),
        (Value::Null, "status.election cannot be removed"),
        (json!({"term": null}), "status.election.term: Required value"),
        (json!({"candidates": "w-1-0"}), "must be of type array"),
    ] {
        let said = edit(&set, &election).expect_err(why);
        assert!(said.contains(why), "{why}: {said}");
    }
    assert_eq!(short(&set.record(1)), "2 w-1-1");
    second.is_quiet();
}

#[test]
fn what_can_be_edited_is_put_right_in_a_later_term() {
    let ground = ground();
    let set = ground.set("edited", 1, 3);
    let first = set.stand(&ground.replicas[0], 1, 0, "1 w-1-0");
    let second = set.stand(&ground.replicas[1], 1, 1, "1 w-1-0 w-1-1");
    // A candidate of whom no replica has the stream comes first.
    let streams = json!({"w-1-2": "no stream"});
    edit(&set, &json!({"candidates": ["w-1-2", "w-1-0", "w-1-1"], "streams": streams})).expect("an edit");
    set.await_record(1, SOON, |record| record["candidates"] == json!(["w-1-0", "w-1-1"]));
    // All are gone: those who live enter anew.
    edit(&set, &json!({"candidates": [], "primary": ""})).expect("an edit");
    let record = set.await_record(1, SOON, |record| record["candidates"].as_array().is_some_and(|all| all.len() == 2));
    let said = short(&record);
    assert!(record["term"].as_i64() > Some(1), "{said}");
    first.receives(&said);
    second.receives(&said);
    // A term from nowhere is where terms go on from.
    edit(&set, &json!({"term": 1000, "primary": "w-1-2"})).expect("an edit");
    let record = set.await_record(1, SOON, |record| record["term"] == 1001 && record["primary"] != "w-1-2");
    first.receives(&short(&record));
}
