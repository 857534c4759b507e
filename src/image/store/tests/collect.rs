//! Removal, pruning, accounting.

use std::os::unix::fs::MetadataExt;

use super::Shop;
use crate::image::Reference;
use crate::image::store::{ForceRemoval, PruneScope, RemovalTarget};

fn name(text: &str) -> Reference {
    text.parse().unwrap()
}

fn named(text: &str) -> RemovalTarget {
    RemovalTarget::Name(name(text))
}

#[test]
fn the_last_name_takes_the_image_with_it() {
    let shop = Shop::new();
    let image = shop.image(&["q.io/x:1", "q.io/x:2"], &[("a", "content")]);
    let first = shop.store.remove(&named("q.io/x:1"), ForceRemoval::No).unwrap();
    assert_eq!((first.untagged, first.deleted), (vec![name("q.io/x:1")], None));
    assert!(shop.is_whole(&image));
    let last = shop.store.remove(&named("q.io/x:2"), ForceRemoval::No).unwrap();
    assert_eq!(last.deleted, Some(image.config));
    assert_eq!(last.untagged[0], name("q.io/x:2"));
    assert!(last.bytes > 0);
    assert!(shop.objects().is_empty(), "{:?}", shop.objects());
    assert!(shop.store.images().unwrap().all().is_empty());
    let error = shop.store.remove(&named("q.io/x:2"), ForceRemoval::Yes).unwrap_err();
    assert!(error.to_string().contains("no image q.io/x:2"), "{error}");
}

#[test]
fn layers_of_another_image_stay() {
    let shop = Shop::new();
    let parent = shop.image(&["parent"], &[("a", "1")]);
    let child = shop.child(&parent, &["child"], &[("b", "2")]);
    assert_eq!(child.layers[0], parent.layers[0]);
    shop.store.remove(&named("parent"), ForceRemoval::No).unwrap();
    assert!(shop.is_whole(&child));
    assert!(!shop.store.blob_path(&parent.config).exists());
    shop.store.remove(&RemovalTarget::Image(child.manifest), ForceRemoval::No).unwrap();
    assert!(shop.objects().is_empty(), "{:?}", shop.objects());
}

#[test]
fn an_image_with_several_names_goes_by_its_id_only_with_force() {
    let shop = Shop::new();
    let image = shop.image(&["q.io/x:1", "q.io/y:1"], &[("a", "1")]);
    let target = RemovalTarget::Image(image.manifest);
    let error = shop.store.remove(&target, ForceRemoval::No).unwrap_err();
    assert!(error.to_string().contains("q.io/x:1, q.io/y:1"), "{error}");
    assert_eq!(shop.store.images().unwrap().all()[0].names.len(), 2);
    assert!(shop.store.remove(&target, ForceRemoval::Yes).unwrap().deleted.is_some());
}

#[test]
fn a_name_with_a_digest_goes_alone_while_there_are_others() {
    let shop = Shop::new();
    let image = shop.image(&["q.io/x:1"], &[("a", "1")]);
    let by_digest = RemovalTarget::Name(image.digests[0].clone());
    assert_eq!(shop.store.remove(&by_digest, ForceRemoval::No).unwrap().deleted, None);
    assert!(
        shop.store.remove(&by_digest, ForceRemoval::No).is_ok(),
        "it is found by its tag's name"
    );
    let again = shop.image(&["q.io/x:1"], &[("a", "1")]);
    shop.store.untag(&again.manifest, &[]).unwrap();
    assert!(shop.is_whole(&again));
    assert!(shop.store.remove(&by_digest, ForceRemoval::No).unwrap().deleted.is_some());
}

#[test]
fn an_image_in_use_stays_whole() {
    let shop = Shop::new();
    let image = shop.image(&["x", "y"], &[("a", "1")]);
    let held = shop.store.blob(&image.manifest).unwrap().unwrap();
    // A name may be removed.
    shop.store.remove(&named("y"), ForceRemoval::No).unwrap();
    for force in [ForceRemoval::No, ForceRemoval::Yes] {
        let error = shop.store.remove(&named("x"), force).unwrap_err();
        assert!(error.to_string().contains("in use by a running container"), "{error}");
    }
    assert!(shop.store.prune(PruneScope::Unused, |_| Ok(true)).unwrap().images.is_empty());
    assert!(shop.is_whole(&image));
    assert_eq!(shop.store.usage().unwrap().images.active, 1);
    drop(held);
    assert_eq!(shop.store.prune(PruneScope::Unused, |_| Ok(true)).unwrap().images.len(), 1);
    assert!(shop.objects().is_empty());
}

#[test]
fn layers_of_a_running_pull_stay_when_their_image_is_removed() {
    let shop = Shop::new();
    let image = shop.image(&["x"], &[("a", "1")]);
    let held = shop.store.blob(&image.layers[0].blob).unwrap().unwrap();
    shop.store.remove(&named("x"), ForceRemoval::No).unwrap();
    assert!(shop.store.blob_path(&image.layers[0].blob).exists());
    assert_eq!(shop.store.prune(PruneScope::None, |_| Ok(true)).unwrap().objects, 0);
    drop(held);
    assert_eq!(shop.store.prune(PruneScope::None, |_| Ok(true)).unwrap().objects, 1);
    assert!(shop.objects().is_empty());
}

#[test]
fn pruning_takes_the_nameless_or_all_with_the_hosts_programs() {
    let shop = Shop::new();
    let old = shop.image(&["x"], &[("a", "1")]);
    let new = shop.image(&["x"], &[("a", "2")]);
    let host = shop.store.root().join("layers").join("0".repeat(64));
    std::fs::create_dir_all(host.join("fs")).unwrap();
    std::fs::write(shop.store.root().join("downloads/sha256-abc"), "partial").unwrap();
    let usage = shop.store.usage().unwrap();
    assert_eq!((usage.images.count, usage.host_roots.count, usage.downloads.count), (2, 1, 1));
    let freed = shop.store.prune(PruneScope::Dangling, |_| Ok(true)).unwrap();
    assert_eq!(freed.images.len(), 1);
    assert_eq!(freed.images[0].deleted, Some(old.config));
    assert_eq!(freed.objects, 1, "the download");
    assert!(shop.is_whole(&new));
    assert_eq!(shop.store.prune(PruneScope::Unused, |_| Ok(true)).unwrap().images.len(), 1);
    assert!(shop.objects().is_empty());
}

#[test]
fn layers_of_a_held_image_that_is_recorded_no_more_stay() {
    let shop = Shop::new();
    let image = shop.image(&["x"], &[("a", "1")]);
    for list in [shop.store.images_path(), shop.store.copy_path()] {
        std::fs::write(list, "{\"version\":1,\"images\":[]}").unwrap();
    }
    let _held = shop.store.blob(&image.manifest).unwrap().unwrap();
    // The image's config is removed with the rest, but the layers are mounted.
    shop.store.prune(PruneScope::Unused, |_| Ok(true)).unwrap();
    assert!(shop.layer_file(&image, "a").exists());
}

#[test]
fn shared_space_is_counted_once() {
    let shop = Shop::new();
    let big = "x".repeat(100_000);
    let parent = shop.image(&["parent"], &[("a", &big)]);
    let child = shop.child(&parent, &["child"], &[("b", &big)]);
    let usage = shop.store.usage().unwrap();
    let on_disk = shop.layer_file(&child, "a").metadata().unwrap().blocks() * 512;
    assert_eq!(usage.images.count, 2);
    assert_eq!(usage.images.active, 0);
    assert_eq!(usage.images.size, usage.images.reclaimable);
    let [first, second] = &usage.each[..] else { panic!("{usage:?}") };
    assert_eq!(first.shared, second.shared);
    assert!(first.shared >= on_disk, "{usage:?}");
    assert_eq!(first.size + second.size - first.shared, usage.images.size);
    let freed = shop.store.prune(PruneScope::Unused, |_| Ok(true)).unwrap();
    assert_eq!(freed.bytes, usage.images.size);
}

#[test]
fn names_are_given_and_taken() {
    let shop = Shop::new();
    let image = shop.image(&["x"], &[("a", "1")]);
    let other = shop.image(&["y"], &[("a", "2")]);
    shop.store.tag(&image.manifest, &[name("y"), name("z")]).unwrap();
    let images = shop.store.images().unwrap();
    assert_eq!(images.of_manifest(&image.manifest).unwrap().names.len(), 3);
    assert!(images.of_manifest(&other.manifest).unwrap().names.is_empty());
    assert!(shop.store.untag(&image.manifest, &[name("nope")]).is_err());
    assert_eq!(shop.store.untag(&image.manifest, &[name("z")]).unwrap(), [name("z")]);
    assert_eq!(shop.store.untag(&image.manifest, &[]).unwrap().len(), 2);
    assert!(shop.store.tag(&crate::digest::Digest::of(b"none"), &[name("z")]).is_err());
}
