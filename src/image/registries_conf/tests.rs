//! The examples of containers-registries.conf(5), and the effects of the command line.

use std::fs;

use proptest::prelude::*;

use super::*;

/// A folder with a registries.conf, and an auth.json if `auth` is given.
fn load(conf: &str, auth: &str) -> (tempfile::TempDir, Result<Registries>) {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("registries.conf"), conf).unwrap();
    if !auth.is_empty() {
        fs::write(path("auth.json"), auth).unwrap();
    }
    let paths = RegistriesPaths {
        system: vec![folder.path().to_owned()],
        certificates: vec![path("certs.d")],
        ..RegistriesPaths::default()
    };
    let credential_paths =
        CredentialPaths { files: vec![path("auth.json")], ..CredentialPaths::default() };
    let registries = Registries::load_from(paths, credential_paths);
    (folder, registries)
}

fn read(conf: &str) -> Registries {
    load(conf, "").1.unwrap()
}

fn candidates(conf: &str, typed: &str) -> Vec<String> {
    let all = read(conf).candidates(&typed.parse().unwrap()).unwrap();
    all.iter().map(Reference::to_string).collect()
}

fn pulled(registries: &Registries, reference: &str) -> Vec<String> {
    let all = registries
        .pull_endpoints(&reference.parse().unwrap(), &RegistryOptions::default())
        .unwrap();
    let shown = |one: &RegistryEndpoint| {
        let mark = if one.transport == TransportSecurity::Insecure { "!" } else { "" };
        format!("{}/{}{mark}", one.host, one.repository)
    };
    all.iter().map(shown).collect()
}

const EXAMPLE: &str = r#"
unqualified-search-registries = ["example.com"]

[[registry]]
prefix = "example.com/foo"
insecure = false
blocked = false
location = "internal-registry-for-example.com/bar"

[[registry.mirror]]
location = "example-mirror-0.local/mirror-for-foo"

[[registry.mirror]]
location = "example-mirror-1.local/mirrors/foo"
insecure = true

[[registry]]
location = "registry.com"

[[registry.mirror]]
location = "mirror.registry.com"
"#;

#[test]
fn the_example_of_the_manual_means_what_it_says_there() {
    let registries = read(EXAMPLE);
    assert_eq!(
        pulled(&registries, "example.com/foo/image:latest"),
        [
            "example-mirror-0.local/mirror-for-foo/image",
            "example-mirror-1.local/mirrors/foo/image!",
            "internal-registry-for-example.com/bar/image",
        ]
    );
    assert_eq!(
        pulled(&registries, "registry.com/image:latest"),
        ["mirror.registry.com/image", "registry.com/image"]
    );
    assert_eq!(pulled(&registries, "example.com/other"), ["example.com/other"]);
    assert_eq!(candidates(EXAMPLE, "foo"), ["example.com/foo:latest"]);
    let pushed = registries
        .push_endpoint(&"example.com/foo/image".parse().unwrap(), &RegistryOptions::default())
        .unwrap();
    assert_eq!((pushed.host.as_str(), pushed.repository.as_str()), ("example.com", "foo/image"));
}

#[test]
fn a_wildcard_without_location_leaves_the_name_alone() {
    let registries = read(
        "[[registry]]\nprefix = '*.example.com'\ninsecure = true\n[[registry.mirror]]\nlocation = 'm.io/all'\n\
         [[registry]]\nprefix = '*.sub.example.com'\nblocked = true\n[[registry]]\nlocation = 'open.sub.example.com'",
    );
    assert_eq!(
        pulled(&registries, "blah.example.com/foo/myimage:latest"),
        ["m.io/all/foo/myimage", "blah.example.com/foo/myimage!"]
    );
    let refused =
        |name: &str| registries.pull_endpoints(&name.parse().unwrap(), &RegistryOptions::default());
    let error = refused("a.sub.example.com/x").unwrap_err().to_string();
    assert!(error.contains("'*.sub.example.com' is blocked in /"), "{error}");
    assert!(
        registries
            .push_endpoint(&"a.sub.example.com/x".parse().unwrap(), &RegistryOptions::default())
            .is_err()
    );
    assert!(registries.login_endpoint("a.sub.example.com", &RegistryOptions::default()).is_err());
    assert_eq!(pulled(&registries, "open.sub.example.com/x"), ["open.sub.example.com/x"]);
}

#[test]
fn the_longest_prefix_wins() {
    let registries = read(
        "[[registry]]\nprefix='a.io/x'\nlocation='b.io'\n[[registry]]\nlocation='a.io'\nblocked=true\n\
         [[registry]]\nprefix='a.io/x/y'\nlocation='c.io/z'\n",
    );
    assert_eq!(pulled(&registries, "a.io/x/y:1"), ["c.io/z"]);
    assert_eq!(pulled(&registries, "a.io/x/yz"), ["b.io/yz"]);
    assert!(
        registries.pull_endpoints(&"a.io/z".parse().unwrap(), &RegistryOptions::default()).is_err()
    );
}

#[test]
fn mirrors_serve_what_they_are_for() {
    let mirror = |of: &str, name: &str, serves: &str| {
        format!("{of}[[registry.mirror]]\nlocation='{name}.io'\npull-from-mirror='{serves}'\n")
    };
    let conf = mirror("[[registry]]\nlocation='a.io'\n", "all", "all");
    let conf = mirror(&mirror(&conf, "digests", "digest-only"), "tags", "tag-only");
    let registries = read(&conf);
    let digest = crate::digest::Digest::of(b"x");
    assert_eq!(pulled(&registries, "a.io/x:1"), ["all.io/x", "tags.io/x", "a.io/x"]);
    let by_digest = pulled(&registries, &format!("a.io/x@{digest}"));
    assert_eq!(by_digest, ["all.io/x", "digests.io/x", "a.io/x"]);
    let registries = read(
        "[[registry]]\nlocation='a.io'\nmirror-by-digest-only=true\n[[registry.mirror]]\nlocation='m.io'",
    );
    assert_eq!(pulled(&registries, "a.io/x"), ["a.io/x"]);
    assert_eq!(pulled(&registries, &format!("a.io/x:1@{digest}")), ["m.io/x", "a.io/x"]);
}

#[test]
fn docker_hub_is_dialled_by_its_other_name() {
    assert_eq!(pulled(&read(""), "debian"), ["registry-1.docker.io/library/debian"]);
    let mirrored = "[[registry]]\nprefix='docker.io/library'\nlocation='docker.io/library'\n\
        [[registry.mirror]]\nlocation='mirror.io/hub'";
    assert_eq!(
        pulled(&read(mirrored), "debian"),
        ["mirror.io/hub/debian", "registry-1.docker.io/library/debian"]
    );
    assert_eq!(pulled(&read(mirrored), "me/x"), ["registry-1.docker.io/me/x"]);
}

#[test]
fn short_names_go_by_aliases_then_search_then_docker() {
    let digest = crate::digest::Digest::of(b"x");
    assert_eq!(candidates("", "debian:12"), ["docker.io/library/debian:12"]);
    assert_eq!(candidates("", "localhost/x"), ["localhost/x:latest"]);
    let aliases = "unqualified-search-registries = ['a.io', 'docker.io']\n\
        [aliases]\n'image' = 'registry.com/namespace/image'\n'hub' = 'docker.io/hub'\n'me/x' = 'b.io/y'\n'gone' = ''";
    for (typed, meant) in [
        ("image", "registry.com/namespace/image:latest"),
        ("image:1", "registry.com/namespace/image:1"),
        ("hub", "docker.io/library/hub:latest"),
        ("me/x:2", "b.io/y:2"),
    ] {
        assert_eq!(candidates(aliases, typed), [meant]);
    }
    assert_eq!(
        candidates(aliases, &format!("image@{digest}")),
        [format!("registry.com/namespace/image@{digest}")]
    );
    for name in ["x", "gone"] {
        let both = [format!("a.io/{name}:latest"), format!("docker.io/library/{name}:latest")];
        assert_eq!(candidates(aliases, name), both);
    }
    assert_eq!(candidates(aliases, "q.io/image"), ["q.io/image:latest"]);
}

#[test]
fn an_ambiguous_name_is_refused_where_that_is_enforced() {
    let conf = "short-name-mode = 'enforcing'\nunqualified-search-registries = ";
    let registries = read(&format!("{conf}['a.io', 'b.io']"));
    let error = registries.candidates(&"x".parse().unwrap()).unwrap_err();
    assert!(error.to_string().contains("a.io/x:latest or b.io/x:latest"), "{error}");
    assert_eq!(candidates(&format!("{conf}['a.io']"), "x"), ["a.io/x:latest"]);
}

#[test]
fn the_command_line_beats_the_files() {
    let (folder, registries) = load("[[registry]]\nlocation='a.io'\ninsecure=true", "");
    let registries = registries.unwrap();
    let transport = |name: &str, tls_verify| {
        let asked = RegistryOptions { tls_verify, ..RegistryOptions::default() };
        registries.push_endpoint(&name.parse().unwrap(), &asked).unwrap().transport
    };
    assert_eq!(transport("a.io/x", None), TransportSecurity::Insecure);
    assert_eq!(transport("a.io/x", Some(true)), TransportSecurity::Verified);
    assert_eq!(transport("b.io/x", Some(false)), TransportSecurity::Insecure);
    assert_eq!(transport("b.io/x", None), TransportSecurity::Verified);
    assert_eq!(transport("localhost:5000/x", Some(true)), TransportSecurity::Verified);
    let certificates = |cert_dir: Option<&str>| {
        let cert_dir = cert_dir.map(|name| folder.path().join(name));
        let asked = RegistryOptions { cert_dir, ..RegistryOptions::default() };
        registries
            .pull_endpoints(&"docker.io/x".parse().unwrap(), &asked)
            .map(|mut all| all.remove(0).certificates)
    };
    assert!(certificates(None).unwrap().is_empty());
    fs::create_dir_all(folder.path().join("certs.d/docker.io")).unwrap();
    assert_eq!(certificates(None).unwrap(), [folder.path().join("certs.d/docker.io")]);
    assert_eq!(certificates(Some("certs.d")).unwrap(), [folder.path().join("certs.d")]);
    assert!(certificates(Some("none")).is_err());
}

#[test]
fn each_endpoint_has_its_own_credentials() {
    // "a:1", "m:2"
    let auth = r#"{"auths":{"a.io":{"auth":"YTox"},"m.io/mirror":{"auth":"bToy"}}}"#;
    let conf = "[[registry]]\nlocation='a.io'\n[[registry.mirror]]\nlocation='m.io/mirror'";
    let (_folder, registries) = load(conf, auth);
    let registries = registries.unwrap();
    let names = |asked: &RegistryOptions| -> Vec<String> {
        let all = registries.pull_endpoints(&"a.io/x".parse().unwrap(), asked).unwrap();
        all.iter().map(|one| format!("{:?}", one.credentials)).collect()
    };
    assert_eq!(
        names(&RegistryOptions::default()),
        ["Some(Password(m, ***))", "Some(Password(a, ***))"]
    );
    let given = RegistryCredentials::Password { username: "given".into(), password: "3".into() };
    let asked = RegistryOptions { credentials: Some(given), ..RegistryOptions::default() };
    // Credentials given for a registry are not used for its mirrors.
    assert_eq!(names(&asked), ["Some(Password(m, ***))", "Some(Password(given, ***))"]);
}

#[test]
fn nothing_is_read_where_there_is_nothing() {
    let registries =
        Registries::load_from(RegistriesPaths::default(), CredentialPaths::default()).unwrap();
    let endpoints =
        registries.pull_endpoints(&"debian".parse().unwrap(), &RegistryOptions::default()).unwrap();
    assert_eq!(endpoints.len(), 1);
    assert_eq!(endpoints[0].credentials, None);
}

proptest! {
    #[test]
    fn no_name_breaks_us(typed in "([a-z.]{1,4}(:[0-9]{1,5})?/)?[a-z/]{1,8}(:[a-z]{1,3})?") {
        let registries = read(&format!("{EXAMPLE}\n[aliases]\n'a'='b.io/c'"));
        if let Ok(typed) = typed.parse::<TypedReference>() {
            for reference in registries.candidates(&typed).unwrap() {
                prop_assert_eq!(&reference.to_string().parse::<Reference>().unwrap(), &reference);
                let _ = registries.pull_endpoints(&reference, &RegistryOptions::default());
            }
        }
    }
}

#[test]
fn without_search_registries_a_short_name_means_nothing() {
    assert!(candidates("unqualified-search-registries = []", "x").is_empty());
    let alias = "unqualified-search-registries = []\n[aliases]\nx = 'a.io/x'";
    assert_eq!(candidates(alias, "x"), ["a.io/x:latest"]);
    assert_eq!(
        candidates("[registries.search]\nregistries = []", "x"),
        ["docker.io/library/x:latest"]
    );
}

#[test]
fn a_registry_of_this_machine_is_insecure_unless_configured_otherwise() {
    let transport = |conf: &str, text: &str| {
        let reference: Reference = text.parse().unwrap();
        let asked = RegistryOptions::default();
        let pull = read(conf).pull_endpoints(&reference, &asked).unwrap().remove(0).transport;
        assert_eq!(read(conf).push_endpoint(&reference, &asked).unwrap().transport, pull);
        assert_eq!(read(conf).login_endpoint(&reference.registry, &asked).unwrap().transport, pull);
        pull
    };
    for here in
        ["localhost/x", "localhost:5000/x", "127.0.0.1:5000/x", "127.9.8.7/x", "[::1]:5000/x"]
    {
        assert_eq!(transport("", here), TransportSecurity::Insecure, "{here}");
    }
    for other in
        ["a.io/x", "128.0.0.1:5000/x", "localhost.a.io/x", "127.0.0.1.a.io/x", "[::2]:5000/x"]
    {
        assert_eq!(transport("", other), TransportSecurity::Verified, "{other}");
    }
    // A registry with a certificate folder is verified.
    let (folder, registries) = load("", "");
    fs::create_dir_all(folder.path().join("certs.d/localhost:5000")).unwrap();
    let endpoint =
        registries.unwrap().login_endpoint("localhost:5000", &RegistryOptions::default());
    assert_eq!(endpoint.unwrap().transport, TransportSecurity::Verified);
    let said = "[[registry]]\nlocation = 'localhost:5000'\ninsecure = false";
    assert_eq!(transport(said, "localhost:5000/x"), TransportSecurity::Verified);
}
