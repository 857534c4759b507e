//! Order of the places in a lookup, and the place of new logins.

use std::fs;
use std::os::unix::fs::MetadataExt;

use serde_json::json;

use super::program::tests::{keeping, with_script};
use super::*;

struct Home {
    folder: tempfile::TempDir,
}

impl Home {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("run")).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn paths(&self) -> CredentialPaths {
        let files =
            ["run/containers/auth.json", "config/containers/auth.json", "docker/config.json"];
        CredentialPaths {
            files: files.map(|name| self.path(name)).into(),
            old: Some(self.path(".dockercfg")),
            runtime: Some(self.path("run")),
            programs: keeping(self.folder.path(), "test"),
            ..CredentialPaths::default()
        }
    }

    fn logins(&self) -> Logins {
        Logins::new(vec![AUTH_FILES.to_owned()], self.paths())
    }

    fn write(&self, name: &str, content: &Value) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content.to_string()).unwrap();
    }

    fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&fs::read(self.path(name)).unwrap()).unwrap()
    }
}

fn auth(username: &str) -> Value {
    json!({"username": username, "password": "secret"})
}

fn found(logins: &Logins, host: &str, repository: &str) -> Option<String> {
    logins.find(host, repository).unwrap().map(|found| found.username.unwrap_or("?".into()))
}

#[test]
fn the_first_place_that_knows_wins() {
    let home = Home::new();
    let logins = home.logins();
    assert_eq!(found(&logins, "a.io", "x"), None);
    for (name, username) in [
        ("docker/config.json", "docker"),
        ("config/containers/auth.json", "config"),
        ("run/containers/auth.json", "run"),
    ] {
        home.write(".dockercfg", &json!({"https://a.io/v1/": auth("old")}));
        home.write(name, &json!({"auths": {"b.io": auth("other"), "a.io": {}}}));
        assert_ne!(found(&logins, "a.io", "x").as_deref(), Some(username));
        home.write(name, &json!({"auths": {"a.io": auth(username)}}));
        assert_eq!(found(&logins, "a.io", "x").as_deref(), Some(username));
    }
    home.write("named.json", &json!({"auths": {"b.io": auth("named")}}));
    let named = Logins::new(
        vec![AUTH_FILES.to_owned()],
        home.paths().with_authfile(Some(&home.path("named.json"))),
    );
    assert_eq!(found(&named, "b.io", "x").as_deref(), Some("named"));
    assert_eq!(found(&named, "a.io", "x"), None);
    fs::remove_file(home.path("named.json")).unwrap();
    let error = named.find("a.io", "x").unwrap_err().to_string();
    assert!(error.contains("named.json: no such file"), "{error}");
}

#[test]
fn the_most_specific_entry_wins() {
    let home = Home::new();
    let entries = json!({
        "my-registry.local/foo/bar/image": auth("image"),
        "my-registry.local/foo": auth("foo"),
        "my-registry.local": auth("registry"),
        "https://index.docker.io/v1/": auth("hub"),
        "my-registry.local/foo/empty": {},
    });
    home.write("run/containers/auth.json", &json!({ "auths": entries }));
    let logins = home.logins();
    for (host, repository, username) in [
        ("my-registry.local", "foo/bar/image", "image"),
        ("my-registry.local", "foo/bar", "foo"),
        ("my-registry.local", "foo/empty", "foo"),
        ("my-registry.local", "fool", "registry"),
        ("my-registry.local", "", "registry"),
        ("docker.io", "library/debian", "hub"),
    ] {
        assert_eq!(found(&logins, host, repository).as_deref(), Some(username), "{repository}");
    }
    assert_eq!(found(&logins, "my-registry.local:5000", "foo"), None);
}

#[test]
fn an_entry_that_is_broken_costs_its_own_registry_alone() {
    let home = Home::new();
    let entries = json!({"bad.io": {"auth": "hidden!"}, "a.io": auth("me")});
    home.write("run/containers/auth.json", &json!({ "auths": entries }));
    assert_eq!(found(&home.logins(), "a.io", "x").as_deref(), Some("me"));
    let error = home.logins().find("bad.io", "x").unwrap_err().to_string();
    assert!(
        error.contains("auth.json: the entry 'bad.io'") && !error.contains("hidden"),
        "{error}"
    );
}

#[test]
fn helpers_are_asked_for_the_registries_they_are_for() {
    let home = Home::new();
    let programs = home.paths().programs;
    programs.store("test", "a.io", "helped", "s").unwrap();
    programs.store("test", "https://index.docker.io/v1/", "hub", "s").unwrap();
    programs.store("test", "token.io", "<token>", "s").unwrap();
    let helpers =
        json!({"a.io": "test", "docker.io": "test", "gone.io": "gone", "none.io": "test"});
    let entries = json!({"a.io": auth("file"), "none.io": auth("file"), "b.io": auth("file")});
    home.write("docker/config.json", &json!({"credHelpers": helpers, "auths": entries}));
    let logins = home.logins();
    assert_eq!(found(&logins, "a.io", "x").as_deref(), Some("helped"));
    assert_eq!(found(&logins, "docker.io", "x").as_deref(), Some("hub"));
    assert_eq!(found(&logins, "b.io", "x").as_deref(), Some("file"));
    // A registry with a helper is not looked up in the file.
    assert_eq!(found(&logins, "none.io", "x"), None);
    let error = logins.find("gone.io", "x").unwrap_err().to_string();
    assert!(error.contains("docker-credential-gone: no such program"), "{error}");

    home.write("docker/config.json", &json!({"credsStore": "test", "auths": {"a.io": {}, "c.io": auth("file"), "a.io/ns": auth("ns")}}));
    assert_eq!(found(&logins, "a.io", "x").as_deref(), Some("helped"));
    assert_eq!(found(&logins, "a.io", "ns/x").as_deref(), Some("ns"));
    assert_eq!(found(&logins, "c.io", "x").as_deref(), Some("file"));
    let token = logins.find("token.io", "x").unwrap().unwrap();
    assert_eq!(token.credentials, RegistryCredentials::IdentityToken("s".into()));
    home.write(
        "docker/config.json",
        &json!({"credsStore": "gone", "auths": {"c.io": auth("file")}}),
    );
    assert_eq!(found(&logins, "c.io", "x").as_deref(), Some("file"));
    assert_eq!(found(&logins, "d.io", "x"), None);
}

#[test]
fn the_helpers_of_registries_conf_are_asked_in_their_order() {
    let home = Home::new();
    home.paths().programs.store("test", "a.io", "helped", "s").unwrap();
    with_script(home.folder.path(), "bad", "exit 1");
    home.write("run/containers/auth.json", &json!({"auths": {"a.io": auth("file")}}));
    let with = |names: &[&str]| {
        Logins::new(names.iter().map(|name| (*name).to_owned()).collect(), home.paths())
    };
    assert_eq!(found(&with(&["test", AUTH_FILES]), "a.io", "x").as_deref(), Some("helped"));
    assert_eq!(found(&with(&[AUTH_FILES, "test"]), "a.io", "x").as_deref(), Some("file"));
    // A failing helper is an error only if no other place has credentials.
    assert_eq!(found(&with(&["bad", AUTH_FILES]), "a.io", "x").as_deref(), Some("file"));
    assert!(with(&["bad", AUTH_FILES]).find("b.io", "x").is_err());
    let store = with(&["test", AUTH_FILES]).store("c.io", "", "me", "p").unwrap();
    assert_eq!(store, CredentialStore::Helper("test".into()));
    let store = with(&["test", AUTH_FILES]).store("c.io", "ns", "me", "p").unwrap();
    assert_eq!(store, CredentialStore::SessionFile(home.path("run/containers/auth.json")));
    assert!(with(&["test"]).store("c.io", "ns", "me", "p").is_err());
    assert!(with(&["test", AUTH_FILES]).erase("a.io", "").unwrap());
    assert_eq!(found(&with(&["test", AUTH_FILES]), "a.io", ""), None);
    with(&["test", AUTH_FILES, "missing"]).erase_all().unwrap();
    assert_eq!(found(&with(&["test", AUTH_FILES]), "c.io", ""), None);
}

#[test]
fn a_login_is_kept_closed_and_forgotten() {
    let home = Home::new();
    let logins = home.logins();
    let file = home.path("run/containers/auth.json");
    let store = logins.store("a.io:5000", "", "me", "p:q").unwrap();
    assert_eq!(store, CredentialStore::SessionFile(file.clone()));
    assert_eq!(
        home.json("run/containers/auth.json"),
        json!({"auths": {"a.io:5000": {"auth": "bWU6cDpx"}}})
    );
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o600);
    assert_eq!(fs::metadata(home.path("run/containers")).unwrap().mode() & 0o7777, 0o700);
    logins.store("a.io:5000", "ns", "you", "p").unwrap();
    logins.store("docker.io", "", "hub", "p").unwrap();
    assert_eq!(found(&logins, "a.io:5000", "ns/x").as_deref(), Some("you"));
    assert!(logins.erase("a.io:5000", "").unwrap());
    assert!(!logins.erase("a.io:5000", "").unwrap());
    assert_eq!(found(&logins, "a.io:5000", "x"), None);
    assert!(logins.erase("a.io:5000", "ns").unwrap());
    assert_eq!(home.json("run/containers/auth.json")["auths"].as_object().unwrap().len(), 1);
    logins.erase_all().unwrap();
    assert_eq!(home.json("run/containers/auth.json"), json!({"auths": {}}));
    // Only our own file is written.
    home.write("docker/config.json", &json!({"auths": {"a.io": auth("docker")}}));
    assert!(!logins.erase("a.io", "").unwrap());
    assert_eq!(found(&logins, "a.io", "").as_deref(), Some("docker"));
}

#[test]
fn docker_finds_what_is_kept_in_its_own_file() {
    let home = Home::new();
    let named = home.paths().with_authfile(Some(&home.path("docker/config.json")));
    let logins = Logins::new(vec![AUTH_FILES.to_owned()], named);
    assert_eq!(
        logins.store("docker.io", "", "hub", "p").unwrap(),
        CredentialStore::File(home.path("docker/config.json"))
    );
    assert!(home.json("docker/config.json")["auths"]["https://index.docker.io/v1/"].is_object());
    assert!(logins.erase("docker.io", "").unwrap());

    home.write(
        "docker/config.json",
        &json!({"credsStore": "test", "auths": {"a.io": auth("old")}}),
    );
    assert_eq!(
        logins.store("a.io", "", "new", "p").unwrap(),
        CredentialStore::Helper("test".into())
    );
    assert_eq!(
        home.json("docker/config.json"),
        json!({"credsStore": "test", "auths": {"a.io": {}}})
    );
    assert_eq!(found(&logins, "a.io", "").as_deref(), Some("new"));
    logins.store("docker.io", "", "hub", "p").unwrap();
    assert_eq!(
        home.paths().programs.list("test").unwrap(),
        ["a.io", "https://index.docker.io/v1/"]
    );
    assert!(logins.erase("a.io", "").unwrap());
    assert_eq!(found(&logins, "a.io", ""), None);
    logins.erase_all().unwrap();
    assert!(home.paths().programs.list("test").unwrap().is_empty());
    assert_eq!(home.json("docker/config.json"), json!({"credsStore": "test", "auths": {}}));
}

#[test]
fn logins_of_a_registry_s_own_helper_are_not_written_to_the_file() {
    let home = Home::new();
    let content = json!({"auths": {}, "credHelpers": {"a.io": "test", "https://index.docker.io/v1/": "test"}});
    home.write("run/containers/auth.json", &content);
    let logins = home.logins();
    for host in ["a.io", "docker.io"] {
        assert_eq!(
            logins.store(host, "", "me", "p").unwrap(),
            CredentialStore::Helper("test".into())
        );
        assert_eq!(found(&logins, host, "x").as_deref(), Some("me"));
        assert!(logins.erase(host, "").unwrap());
        assert!(!logins.erase(host, "").unwrap());
    }
    assert_eq!(home.json("run/containers/auth.json"), content);
}

#[test]
fn a_place_that_is_not_there_is_not_guessed() {
    let logins = Logins::new(vec![AUTH_FILES.to_owned()], CredentialPaths::default());
    let error = logins.store("a.io", "", "me", "hidden").unwrap_err();
    assert!(error.to_string().contains("neither XDG_RUNTIME_DIR nor HOME"), "{error}");
    let home = Home::new();
    fs::remove_dir(home.path("run")).unwrap();
    let error = home.logins().store("a.io", "", "me", "hidden").unwrap_err();
    assert!(error.to_string().contains("XDG_RUNTIME_DIR is"), "{error}");
    assert!(!home.path("run").exists());
}
