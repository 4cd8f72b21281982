use serde_json::json;

use super::*;

fn rendered(response: &Response) -> Value {
    serde_json::from_slice(&response.render().unwrap()).unwrap()
}

#[test]
fn a_denial_has_the_form_that_kubectl_prints_by_cause() {
    let subject = Subject { group: "k8s.atomix.io", kind: "PartitionSet", name: "raft" };
    let violations = [
        Violation::invalid("spec.partitions", &0, "must be greater than or equal to 1"),
        Violation::required("spec.template", ""),
    ];
    assert_eq!(
        rendered(&Response::invalid("u", subject, &violations)),
        json!({
            "apiVersion": "admission.k8s.io/v1",
            "kind": "AdmissionReview",
            "response": {
                "uid": "u",
                "allowed": false,
                "status": {
                    "status": "Failure",
                    "code": 422,
                    "reason": "Invalid",
                    "message": "PartitionSet.k8s.atomix.io \"raft\" is invalid: [spec.partitions: Invalid value: 0: must be greater than or equal to 1, spec.template: Required value]",
                    "details": {
                        "name": "raft",
                        "group": "k8s.atomix.io",
                        "kind": "PartitionSet",
                        "causes": [
                            {
                                "reason": "FieldValueInvalid",
                                "field": "spec.partitions",
                                "message": "Invalid value: 0: must be greater than or equal to 1"
                            },
                            { "reason": "FieldValueRequired", "field": "spec.template", "message": "Required value" }
                        ]
                    }
                }
            }
        })
    );
}

#[test]
fn a_patch_is_base64_and_no_patch_is_no_field() {
    let edits = [
        Edit { pointer: "/spec/partitions".into(), value: Some(json!(1)) },
        Edit { pointer: "/spec/template/metadata".into(), value: None },
    ];
    let response = rendered(&Response::patch("u", &edits));
    assert_eq!(response["response"]["patchType"], "JSONPatch");
    let patch = STANDARD.decode(response["response"]["patch"].as_str().unwrap()).unwrap();
    let patch: Value = serde_json::from_slice(&patch).unwrap();
    assert_eq!(
        patch,
        json!([
            { "op": "add", "path": "/spec/partitions", "value": 1 },
            { "op": "remove", "path": "/spec/template/metadata" },
        ])
    );
    let nothing = rendered(&Response::patch("u", &[]));
    assert_eq!(nothing["response"], json!({ "uid": "u", "allowed": true }));
}

#[test]
fn an_answer_that_asks_to_try_again_has_a_delay() {
    let response = rendered(&Response::try_again("u", "later"));
    assert_eq!(response["response"]["status"]["code"], 429);
    assert_eq!(response["response"]["status"]["details"], json!({ "retryAfterSeconds": 1 }));
}

#[test]
fn warnings_fit_what_the_api_server_passes_on() {
    let warnings: Vec<String> = std::iter::repeat_n("é".repeat(300), 40).collect();
    let fit = sanitise(&warnings);
    assert_eq!(fit.len(), 16);
    assert!(fit.iter().all(|warning| warning.chars().count() == 256 && warning.ends_with("é...")));
    assert_eq!(sanitise(&["a\nb\u{7f}\u{85}c".to_owned()]), ["a b  c"]);
    assert_eq!(sanitise(&["é".repeat(256)]), ["é".repeat(256)]);
}
