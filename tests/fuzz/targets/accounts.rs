//! /etc/passwd and /etc/group of an image, and the user that a flag names: no broken line becomes an account.
#![no_main]

use libfuzzer_sys::fuzz_target;
use usnea::layer::whiteout::Whiteouts;
use usnea::spec::{self, ImageDefaults, UserFlag};

/// Numbers of all fields that a line may hold as an ID.
fn numbers(text: &str) -> impl Iterator<Item = u32> {
    text.split([':', '\n']).filter_map(|field| field.trim_end_matches('\r').parse().ok())
}

fuzz_target!(|input: (&str, &[u8], &[u8])| {
    let (flag, passwd, group) = input;
    let folder = usnea_fuzz::folder();
    std::fs::create_dir(folder.path().join("etc")).expect("a folder");
    std::fs::write(folder.path().join("etc/passwd"), passwd).expect("a file");
    std::fs::write(folder.path().join("etc/group"), group).expect("a file");
    let roots = [folder.path().to_owned()];
    let image = ImageDefaults { user: Some(flag.to_owned()), ..ImageDefaults::default() };
    let asked = flag.parse::<UserFlag>().ok();
    if let Ok(count) = spec::ids_needed(&roots, Whiteouts::default(), asked.as_ref(), &image) {
        assert!(count > 0);
    }
    if let Some((uid, gid)) = spec::image_user(&roots, Whiteouts::default(), &image) {
        // Each ID is one that the flag or a file has; a user who is not listed has group 0.
        let texts = [flag.into(), String::from_utf8_lossy(passwd), String::from_utf8_lossy(group)];
        let known = |id: u32| texts.iter().any(|text| numbers(text).any(|number| number == id));
        assert!(known(uid) || (uid == 0 && flag.starts_with(':')), "{uid}");
        assert!(known(gid) || gid == 0, "{gid}");
    }
    let root = std::fs::File::open(folder.path()).expect("a folder");
    if let Some(asked) = &asked {
        let _ = spec::look_up(root.into(), asked, &[], 1000);
    }
});
