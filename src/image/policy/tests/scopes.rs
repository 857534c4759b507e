//! Choice of the rule for an image: the narrowest scope wins.

use super::*;

/// A policy with a rule for each of `scopes`.
fn policy_of(transport: &str, scopes: &[&str]) -> SignaturePolicy {
    let requirements = serde_json::json!([{"type": "insecureAcceptAnything"}]);
    let scopes: serde_json::Map<_, _> =
        scopes.iter().map(|scope| ((*scope).to_owned(), requirements.clone())).collect();
    let value =
        serde_json::json!({"default": [{"type": "reject"}], "transports": {transport: scopes}});
    policy(&value.to_string()).unwrap()
}

#[test]
fn of_a_registry_the_narrowest_scope_applies() {
    let digest = Digest::of(b"");
    let by_digest = format!("a.b.example.com:5000/ns/x@{digest}");
    let image = "a.b.example.com:5000/ns/x:1";
    let mut scopes = vec![
        image,
        "a.b.example.com:5000/ns/x",
        "a.b.example.com:5000/ns",
        "a.b.example.com:5000",
        "*.b.example.com",
        "*.example.com",
        "*.com",
        "",
    ];
    while let Some(narrowest) = scopes.first().copied() {
        let policy = policy_of("docker", &scopes);
        let (rule, requirements) = policy.rule(&origin(image));
        assert_eq!(rule, format!("docker \"{narrowest}\""));
        assert!(matches!(requirements, [Requirement::InsecureAcceptAnything {}]));
        scopes.remove(0);
    }
    let policy = policy_of("docker", &[&by_digest, image]);
    assert_eq!(policy.rule(&origin(&by_digest)).0, format!("docker \"{by_digest}\""));
    // The tag beside a digest names nothing.
    let both = format!("a.b.example.com:5000/ns/x:1@{digest}");
    assert_eq!(policy.rule(&origin(&both)).0, format!("docker \"{by_digest}\""));
}

#[test]
fn names_near_a_scope_are_not_in_it() {
    for (scope, image) in [
        ("q.io/ns/x:1", "q.io/ns/x:2"),
        ("q.io/ns/x", "q.io/ns/xy"),
        ("q.io/n", "q.io/ns/x"),
        ("q.io", "q.io:5000/x"),
        ("*.q.io", "q.io/x"),
        ("*.q.io", "aq.io/x"),
        ("example.com", "sub.example.com/x"),
        ("docker.io/library/busybox", "docker.io/me/busybox"),
    ] {
        let policy = policy_of("docker", &[scope]);
        assert_eq!(policy.rule(&origin(image)).0, "default", "{scope} {image}");
        assert!(policy.check_before(&origin(image)).is_err());
    }
    let other = policy_of("atomic", &[""]);
    assert_eq!(other.rule(&origin("debian")).0, "default");
}

#[test]
fn of_a_folder_the_nearest_above_applies_and_links_do_not_lead_around() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    let image = root.join("a/image");
    std::fs::create_dir_all(&image).unwrap();
    std::os::unix::fs::symlink(&image, root.join("link")).unwrap();
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let tagged = format!("{}:1", text(&image));
    let mut scopes =
        vec![tagged.clone(), text(&image), text(&root.join("a")), text(&root), String::new()];
    while let Some(narrowest) = scopes.first().cloned() {
        let all: Vec<&str> = scopes.iter().map(String::as_str).collect();
        let policy = policy_of("oci", &all);
        for path in [&image, &root.join("link"), &root.join("a/../a/image")] {
            let origin = ImageOrigin::local("oci", path, Some("1")).unwrap();
            assert_eq!(policy.rule(&origin).0, format!("oci \"{narrowest}\""));
        }
        scopes.remove(0);
    }
    let policy = policy_of("oci", &[&tagged]);
    assert_eq!(policy.rule(&ImageOrigin::local("oci", &image, None).unwrap()).0, "default");
    assert!(ImageOrigin::local("oci", &root.join("nothing"), None).is_err());
}

#[test]
fn archives_of_docker_have_no_scopes() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let origin = ImageOrigin::local("docker-archive", file.path(), Some("x:1")).unwrap();
    assert_eq!(policy_of("docker-archive", &[""]).rule(&origin).0, "docker-archive \"\"");
    let error = policy_of("oci", &[""]).check_before(&origin).unwrap_err().to_string();
    assert!(error.contains(&format!("docker-archive:{}", file.path().display())), "{error}");
}

#[test]
fn without_a_file_everything_is_accepted() {
    let policy = SignaturePolicy {
        path: None,
        default: vec![Requirement::InsecureAcceptAnything {}],
        transports: BTreeMap::new(),
    };
    assert!(policy.check_before(&origin("debian")).is_ok());
    assert!(policy.verify(&origin("debian"), &Digest::of(b""), &alone).is_ok());
    assert_eq!(policy.requirements(&origin("debian")).len(), 1);
}
