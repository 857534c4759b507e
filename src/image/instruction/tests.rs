//! Changes: each instruction in each form, as docker understands it.

use proptest::prelude::*;

use super::*;

fn changed(config: Value, changes: &[&str]) -> Value {
    let changes: Vec<ConfigChange> = changes.iter().map(|text| text.parse().unwrap()).collect();
    let mut document = json!({"config": config, "os": "linux"});
    apply(&mut document, &changes).unwrap();
    assert_eq!(document["os"], "linux");
    document["config"].clone()
}

#[test]
fn commands_have_two_forms() {
    let config = changed(json!({}), &["CMD echo  $HOME 'x'", r#"ENTRYPOINT ["/bin/a", "b c"]"#]);
    assert_eq!(config["Cmd"], json!(["/bin/sh", "-c", "echo  $HOME 'x'"]));
    assert_eq!(config["Entrypoint"], json!(["/bin/a", "b c"]));
    // A new entrypoint removes the command that was made for the old entrypoint.
    let config = changed(json!({"Cmd": ["old"]}), &["entrypoint /x"]);
    assert_eq!(config, json!({"Entrypoint": ["/bin/sh", "-c", "/x"]}));
    let config = changed(json!({"Shell": ["/bin/ash", "-ec"]}), &["CMD x", "CMD=y"]);
    assert_eq!(config["Cmd"], json!(["/bin/ash", "-ec", "y"]));
    assert_eq!(changed(json!({}), &["CMD []"])["Cmd"], json!([]));
    assert_eq!(changed(json!({}), &["CMD ['x']"])["Cmd"], json!(["/bin/sh", "-c", "['x']"]));
}

#[test]
fn the_environment_is_set_and_used() {
    let before = json!({"Env": ["PATH=/bin", "A=1"]});
    let config = changed(
        before,
        &["ENV PATH=$PATH:/opt/bin A='$A' B=\"x y\" C=a\\ b D=", "ENV OLD the rest of it"],
    );
    let env = ["PATH=/bin:/opt/bin", "A=$A", "B=x y", "C=a b", "D=", "OLD=the rest of it"];
    assert_eq!(config["Env"], json!(env));
    let config = changed(
        config,
        &["ENV E=${A:-z}/${NO:-no}/${D:+set}/${D-unset}/${B:+\"set\"}/$NO/${B}/\\$B/$/\"\\$B\""],
    );
    assert_eq!(config["Env"][6], "E=$A/no///set//x y/$B/$/$B");
}

#[test]
fn the_other_fields_are_dockers() {
    let config = changed(
        json!({"WorkingDir": "/srv", "Labels": null}),
        &[
            "EXPOSE 80 53/UDP 7000-7002/tcp",
            "LABEL a=1 \"b c\"=\"d e\"",
            "LABEL old style value",
            "STOPSIGNAL SIGRTMIN+3",
            "USER 1000:staff",
            "VOLUME /data /more",
            r#"VOLUME ["/a b"]"#,
            "WORKDIR a/../b",
            "WORKDIR ./c",
            "ONBUILD RUN make",
        ],
    );
    let ports = ["53/udp", "7000/tcp", "7001/tcp", "7002/tcp", "80/tcp"];
    let has = |field: &str| config[field].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(has("ExposedPorts"), ports);
    assert_eq!(config["Labels"], json!({"a": "1", "b c": "d e", "old": "style value"}));
    assert_eq!(config["StopSignal"], "SIGRTMIN+3");
    assert_eq!(config["User"], "1000:staff");
    assert_eq!(has("Volumes"), ["/a b", "/data", "/more"]);
    assert_eq!(config["WorkingDir"], "/srv/b/c");
    assert_eq!(config["OnBuild"], json!(["RUN make"]));
}

#[test]
fn health_checks_are_kept_in_nanoseconds() {
    let check = |text: &str| changed(json!({}), &[text])["Healthcheck"].clone();
    assert_eq!(check("HEALTHCHECK NONE"), json!({"Test": ["NONE"]}));
    assert_eq!(
        check("HEALTHCHECK --interval=1m30s --timeout=1.5s --retries=3 CMD curl -f x || exit 1"),
        json!({"Interval": 90_000_000_000u64, "Timeout": 1_500_000_000, "Retries": 3,
               "Test": ["CMD-SHELL", "curl -f x || exit 1"]})
    );
    assert_eq!(check(r#"HEALTHCHECK CMD ["a"]"#), json!({"Test": ["CMD", "a"]}));
}

#[test]
fn what_cannot_be_is_refused() {
    for text in [
        "",
        "RUN make",
        "FROM x",
        "CMD",
        "ENV",
        "ENV A",
        "ENV =x",
        "ENV A=1 B",
        "ENV A='x",
        "ENV A=\"x",
        "ENV A=${",
        "ENV A=${B",
        "ENV A=${B:?x}",
        "EXPOSE x",
        "EXPOSE 0",
        "EXPOSE 70000",
        "EXPOSE 5-4",
        "EXPOSE 5/icmp",
        "LABEL x",
        "USER a b",
        "STOPSIGNAL a;b",
        "VOLUME [\"\"]",
        "ONBUILD FROM x",
        "HEALTHCHECK",
        "HEALTHCHECK curl",
        "HEALTHCHECK --interval=3 CMD x",
        "HEALTHCHECK --interval=99999999999h CMD x",
        "HEALTHCHECK --retries=-1 CMD x",
        "HEALTHCHECK --x CMD x",
    ] {
        assert!(text.parse::<ConfigChange>().is_err(), "{text:?}");
    }
    let error = "RUN x".parse::<ConfigChange>().unwrap_err();
    assert!(error.hint_text().unwrap().starts_with("one of CMD, ENTRYPOINT"));
    let change: ConfigChange = "ENV A=1".parse().unwrap();
    assert!(apply(&mut json!({"config": {"Env": {}}}), std::slice::from_ref(&change)).is_err());
    assert!(apply(&mut json!([]), &[change]).is_err());
}

proptest! {
    #[test]
    fn no_text_panics(text in "(ENV|LABEL|EXPOSE|HEALTHCHECK|VOLUME|WORKDIR|CMD|USER)[ =][ -~é]{0,40}") {
        let _ = text.parse::<ConfigChange>();
    }

    #[test]
    fn variables_never_panic(text in "ENV A=[${}:+'\"\\\\a-]{0,30}") {
        let _ = text.parse::<ConfigChange>();
    }
}
