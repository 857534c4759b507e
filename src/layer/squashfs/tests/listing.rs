//! Large folders: look-up by the index, listings in steps.

use super::source_tree::{list_in_steps, name_of_many};
use super::*;

const MANY: usize = 5_000;

fn made() -> (MadeImage, Arc<SquashfsImage>, Inode) {
    let source = tempfile::tempdir().unwrap();
    fs::create_dir(source.path().join("many")).unwrap();
    for number in 0..MANY {
        fs::write(source.path().join("many").join(name_of_many(number)), "").unwrap();
    }
    let made = MadeImage::new(source.path(), &[]);
    let image = made.open();
    let many = image.lookup(&image.inode(image.root()).unwrap(), "many".as_ref()).unwrap();
    let many = image.inode(many.unwrap()).unwrap();
    (made, image, many)
}

#[test]
fn every_name_of_a_large_folder_is_found_and_no_other() {
    let (_made, image, many) = made();
    for number in 0..MANY {
        let name = name_of_many(number);
        let found = image.lookup(&many, name.as_ref()).unwrap();
        assert!(found.is_some(), "{name}");
        for absent in [format!("{name}!"), format!("{name}~"), name[1..].to_owned()] {
            assert_eq!(image.lookup(&many, absent.as_ref()), Ok(None), "{absent}");
        }
    }
    for absent in ["", "a", "entry-", "entry-99999", "zzz"] {
        assert_eq!(image.lookup(&many, absent.as_ref()), Ok(None), "{absent}");
    }
    let long = "x".repeat(256);
    assert_eq!(image.lookup(&many, long.as_ref()), Err(rustix::io::Errno::NAMETOOLONG));
    let file = image.lookup(&many, name_of_many(1).as_ref()).unwrap().unwrap();
    let file = image.inode(file).unwrap();
    assert_eq!(image.lookup(&file, "x".as_ref()), Err(rustix::io::Errno::NOTDIR));
}

#[test]
fn a_large_folder_is_not_read_whole_for_one_name() {
    let (made, _, _) = made();
    let image = made.open();
    let many = image.lookup(&image.inode(image.root()).unwrap(), "many".as_ref()).unwrap();
    let many = image.inode(many.unwrap()).unwrap();
    let before = image.loads().metadata;
    assert!(image.lookup(&many, name_of_many(MANY - 1).as_ref()).unwrap().is_some());
    assert!(image.loads().metadata - before <= 3, "{:?}", image.loads());
}

#[test]
fn listings_continue_where_they_stopped_whatever_the_step() {
    let (_made, image, many) = made();
    let all: Vec<OsString> = (0..MANY).map(|number| name_of_many(number).into()).collect();
    for step in [1, 7, 256, MANY, MANY + 1] {
        assert!(list_in_steps(&image, &many, step) == all, "steps of {step}");
    }
}

#[test]
fn a_listing_continues_from_any_cookie_at_any_time() {
    let (made, image, many) = made();
    let mut cookies = Vec::new();
    image
        .list(&many, 0, |entry| {
            cookies.push(entry.next);
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
    let fresh = made.open();
    for at in [MANY - 1, 3000, 17, 0, 255, 256, 257, 4999] {
        let mut next = None;
        fresh
            .list(&many, cookies[at], |entry| {
                next = Some(entry.name.to_owned());
                std::ops::ControlFlow::Break(())
            })
            .unwrap();
        let expected = (at + 1 < MANY).then(|| OsString::from(name_of_many(at + 1)));
        assert_eq!(next, expected, "behind {at}");
    }
    // lseek(2) takes any number: entries or an error, and an end.
    for cookie in (0..100_000).step_by(97).chain([u64::MAX, i64::MAX as u64, 1 << 41]) {
        let mut count = 0;
        let _ = fresh.list(&many, cookie, |_| {
            count += 1;
            std::ops::ControlFlow::Continue(())
        });
        assert!(count <= MANY);
    }
}
