//! registries.conf: the user's, and a drop-in, half of the input each.
#![no_main]

use libfuzzer_sys::fuzz_target;
use usnea::image::credentials::CredentialPaths;
use usnea::image::registries_conf::{RegistryOptions, RegistriesPaths, Registries};

fuzz_target!(|text: &str| {
    let (main, drop_in) = text.split_once('\0').unwrap_or((text, ""));
    let folder = usnea_fuzz::folder();
    let user = folder.path().to_owned();
    std::fs::create_dir(user.join("registries.conf.d")).expect("a folder");
    std::fs::write(user.join("registries.conf"), main).expect("a file");
    std::fs::write(user.join("registries.conf.d/50.conf"), drop_in).expect("a file");
    let paths = RegistriesPaths { user: Some(user), ..RegistriesPaths::default() };
    let Ok(registries) = Registries::load_from(paths, CredentialPaths::default()) else { return };
    for name in ["debian", "quay.io/a/b:1", "localhost:5000/x"] {
        let typed = name.parse().expect("a name");
        for reference in registries.candidates(&typed).unwrap_or_default() {
            let _ = registries.pull_endpoints(&reference, &RegistryOptions::default());
            let _ = registries.push_endpoint(&reference, &RegistryOptions::default());
        }
    }
});
