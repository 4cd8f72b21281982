use super::*;

fn replica(name: char) -> ReplicaId {
    ReplicaId::parse(&format!("0000000{name}")).unwrap()
}

fn id(text: &str) -> StreamId {
    let (name, number) = text.split_at(1);
    StreamId { replica: replica(name.chars().next().unwrap()), number: number.parse().unwrap() }
}

/// Term 4 with candidates like `0:a1 1:b7`: member p-0 by stream 1 of replica a, and so on.
fn record(candidates: &str) -> ElectionStatus {
    let candidates: Vec<(String, String)> = candidates
        .split_whitespace()
        .map(|text| {
            let (member, stream) = text.split_once(':').unwrap();
            (format!("p-{member}"), id(stream).to_string())
        })
        .collect();
    ElectionStatus {
        term: 4,
        primary: candidates.first().map(|(member, _)| member.clone()).unwrap_or_default(),
        candidates: candidates.iter().map(|(member, _)| member.clone()).collect(),
        streams: candidates.into_iter().collect(),
    }
}

/// What replica a makes of a record, given its own candidacies and those of the dead, as term and candidates.
fn after(before: &ElectionStatus, own: &str, dead: &str) -> String {
    shown(&step(before, own, dead, true))
}

fn step(before: &ElectionStatus, own: &str, dead: &str, may_enter: bool) -> ElectionStatus {
    let own = record(own);
    let own: Vec<(&str, StreamId)> =
        own.candidates.iter().map(|member| (member.as_str(), stream_of(&own, member).unwrap())).collect();
    let dead = dead.split_whitespace().map(id).collect();
    let members = Members { partition: "p".to_owned(), size: 3 };
    next(before, &Change { replica: replica('a'), own: &own, may_enter, dead: &dead, members: &members })
}

fn shown(record: &ElectionStatus) -> String {
    assert_eq!(record.primary, record.candidates.first().cloned().unwrap_or_default());
    assert_eq!(record.candidates.len(), record.streams.len());
    let candidates = record.candidates.iter().map(|member| {
        let StreamId { replica, number } = stream_of(record, member).unwrap();
        format!(" {}:{}{number}", &member[2..], &replica.to_string()[7..])
    });
    format!("{}{}", record.term, candidates.collect::<String>())
}

#[test]
fn the_first_candidate_is_primary_of_the_first_term() {
    assert_eq!(after(&ElectionStatus::default(), "1:a1 0:a2", ""), "1 1:a1 0:a2");
}

#[test]
fn a_new_candidate_is_last_and_changes_no_term() {
    assert_eq!(after(&record("0:b1"), "2:a1", ""), "4 0:b1 2:a1");
    assert_eq!(after(&record("0:b1 2:a1"), "2:a1", ""), "4 0:b1 2:a1");
}

#[test]
fn a_term_ends_with_its_candidacy() {
    // Left.
    assert_eq!(after(&record("0:a1 1:b1"), "", ""), "5 1:b1");
    assert_eq!(after(&record("0:b1 1:a1"), "", ""), "4 0:b1");
    // Replaced by a newer stream of the same member.
    assert_eq!(after(&record("0:b1 1:b2"), "0:a9", ""), "5 1:b2 0:a9");
    assert_eq!(after(&record("0:a1"), "0:a2", ""), "5 0:a2");
    // Of a dead replica.
    assert_eq!(after(&record("0:b1 1:c1"), "", "b1"), "5 1:c1");
    assert_eq!(after(&record("0:b2 1:c1"), "", "b1"), "4 0:b2 1:c1");
}

#[test]
fn a_vacancy_keeps_its_number_and_the_next_primary_has_the_next() {
    let vacant = step(&record("0:a1"), "", "", true);
    assert_eq!(shown(&vacant), "4");
    assert_eq!(after(&vacant, "", ""), "4");
    assert_eq!(after(&vacant, "0:a2", ""), "5 0:a2");
}

#[test]
fn a_candidacy_that_may_not_enter_yet_replaces_none() {
    assert_eq!(shown(&step(&record("0:b1"), "0:a1 1:a2", "", false)), "4 0:b1");
    assert_eq!(shown(&step(&record("0:b1 1:a2"), "1:a2", "", false)), "4 0:b1 1:a2");
}

#[test]
fn a_candidate_that_is_no_member_any_more_is_dropped() {
    assert_eq!(after(&record("3:b1 0:b2"), "", ""), "5 0:b2");
    assert_eq!(after(&record("0:b2"), "7:a1", ""), "4 0:b2");
}

#[test]
fn a_record_that_was_edited_leads_to_a_higher_term() {
    let sound = record("0:b1 1:b2");
    let edited = |edit: fn(&mut ElectionStatus)| {
        let mut record = sound.clone();
        edit(&mut record);
        after(&record, "", "")
    };
    assert_eq!(edited(|record| record.primary = "p-1".to_owned()), "5 0:b1 1:b2");
    assert_eq!(edited(|record| record.primary = "nobody".to_owned()), "5 0:b1 1:b2");
    assert_eq!(edited(|record| record.primary.clear()), "5 0:b1 1:b2");
    assert_eq!(edited(|record| record.candidates.reverse()), "5 1:b2 0:b1");
    assert_eq!(edited(|record| record.candidates.push("p-0".to_owned())), "4 0:b1 1:b2");
    assert_eq!(edited(|record| drop(record.streams.remove("p-0"))), "5 1:b2");
    assert_eq!(edited(|record| drop(record.streams.insert("p-0".to_owned(), "b1".to_owned()))), "5 1:b2");
    assert_eq!(edited(|record| drop(record.streams.insert("p-2".to_owned(), "0000000b/3".to_owned()))), "4 0:b1 1:b2");
    assert_eq!(edited(|record| record.candidates.clear()), "4");
}

#[test]
fn members_are_the_pods_of_the_partition() {
    let members = Members { partition: "p-1".to_owned(), size: 11 };
    for member in ["p-1-0", "p-1-9", "p-1-10"] {
        assert!(members.include(member), "{member}");
    }
    for other in ["", "p-1", "p-1-", "p-1-11", "p-1-00", "p-1-01", "p-1-+1", "p-1--1", "p-10-0", "p-1-0 ", "p-1-1x"] {
        assert!(!members.include(other), "{other:?}");
    }
    assert_eq!(Members { partition: "p".to_owned(), size: 2 }.to_string(), "p-0, p-1");
}
