//! Each kind of damage is found, and repaired where possible.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::Shop;
use crate::config::LayerLimits;
use crate::digest::Digest;
use crate::image::owners::Owners;
use crate::image::store::{
    CheckDepth, CheckSettings, FaultOutcome, ImageRecord, Repair, StoreFault,
};

impl Shop {
    fn check(&self) -> Vec<StoreFault> {
        self.store.check(None).unwrap()
    }

    /// Retries for a moment if an object is in use: a parallel test that forks shares our locks with its child until
    /// the child's exec.
    fn repair(&self) -> Vec<StoreFault> {
        let is_held = |fault: &StoreFault| matches!(&fault.outcome, FaultOutcome::Left(how) if how.contains("in use"));
        let mut mended = Vec::new();
        for _ in 0..20 {
            let mending = CheckSettings {
                repair: Repair::Yes,
                depth: CheckDepth::Whole,
                owners: &Owners::Recorded,
                limits: &LayerLimits::default(),
            };
            let faults = self.store.check(Some(mending)).unwrap();
            if !faults.iter().any(is_held) {
                mended.extend(faults);
                return mended;
            }
            mended.extend(faults.into_iter().filter(|fault| !fault.is_left()));
            std::thread::sleep(std::time::Duration::from_millis(25));
        }
        let mending = CheckSettings {
            repair: Repair::Yes,
            depth: CheckDepth::Whole,
            owners: &Owners::Recorded,
            limits: &LayerLimits::default(),
        };
        mended.extend(self.store.check(Some(mending)).unwrap());
        mended
    }

    /// Finds one fault, twice; repairs it; finds none.
    #[track_caller]
    fn one_fault_that_is_mended(&self) -> StoreFault {
        let found = self.check();
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(self.check(), found, "looking mends nothing");
        let mended = self.repair();
        assert!(mended.iter().all(|fault| !fault.is_left()), "{mended:?}");
        assert_eq!(self.check(), []);
        found.into_iter().next().unwrap()
    }
}

fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

fn two_images(shop: &Shop) -> (ImageRecord, ImageRecord) {
    let parent = shop.image(&["parent"], &[("a", "1"), ("b", "2")]);
    let child = shop.child(&parent, &["child"], &[("c", "3")]);
    (parent, child)
}

#[test]
fn a_sound_store_has_no_fault() {
    let shop = Shop::new();
    assert_eq!(shop.check(), []);
    two_images(&shop);
    assert_eq!(shop.check(), []);
    assert_eq!(shop.repair(), []);
}

#[test]
fn leftovers_of_a_killed_command_are_no_fault() {
    let shop = Shop::new();
    two_images(&shop);
    fs::write(shop.store.root().join("downloads/sha256-00"), "half").unwrap();
    fs::create_dir(shop.store.root().join("tmp/layer-0123")).unwrap();
    fs::write(shop.store.root().join("blobs/sha256").join(Digest::of(b"x").hex()), "x").unwrap();
    assert_eq!(shop.check(), []);
    assert!(!shop.store.root().join("tmp/layer-0123").exists());
}

#[test]
fn a_file_that_a_layer_lost_comes_back() {
    let shop = Shop::new();
    let (parent, child) = two_images(&shop);
    fs::remove_file(shop.layer_file(&parent, "a")).unwrap();
    let fault = shop.one_fault_that_is_mended();
    assert_eq!(fault.images, ["parent:latest", "child:latest"]);
    assert!(fault.fault.contains("1 files and folders are there, not 2"), "{fault:?}");
    assert_eq!(fs::read(shop.layer_file(&child, "a")).unwrap(), b"1");
}

#[test]
fn a_layer_whose_content_or_story_is_another_is_unpacked_anew() {
    let shop = Shop::new();
    let (parent, _) = two_images(&shop);
    fs::write(shop.layer_file(&parent, "a"), "longer").unwrap();
    shop.one_fault_that_is_mended();
    assert_eq!(fs::read(shop.layer_file(&parent, "a")).unwrap(), b"1");
    let facts = shop.layer_file(&parent, "").parent().unwrap().join("layer.json");
    fs::write(&facts, "{").unwrap();
    shop.one_fault_that_is_mended();
    fs::remove_file(&facts).unwrap();
    shop.one_fault_that_is_mended();
    fs::remove_dir_all(facts.parent().unwrap()).unwrap();
    let fault = shop.one_fault_that_is_mended();
    assert!(fault.fault.contains("not unpacked"), "{fault:?}");
    assert_eq!(fs::read(shop.layer_file(&parent, "a")).unwrap(), b"1");
}

#[test]
fn a_damaged_packed_layer_is_removed_and_a_pull_brings_it_back() {
    let shop = Shop::new();
    let (parent, _) = two_images(&shop);
    let blob = shop.store.blob_path(&parent.layers[0].blob);
    flip(&blob);
    let found = shop.check();
    assert_eq!(found.len(), 1, "{found:?}");
    let mended = shop.repair();
    assert!(!blob.exists());
    let left: Vec<&StoreFault> = mended.iter().filter(|fault| fault.is_left()).collect();
    assert_eq!(left.len(), 1, "{mended:?}");
    let FaultOutcome::Left(how) = &left[0].outcome else { panic!("{left:?}") };
    assert!(how.contains("usnea pull"), "{how}");
    // The images are still there, and still run.
    assert_eq!(shop.store.images().unwrap().all().len(), 2);
    shop.image(&["parent"], &[("a", "1"), ("b", "2")]);
    assert_eq!(shop.check(), []);
}

#[test]
fn an_image_without_manifest_or_config_is_no_longer_listed() {
    for damage in [flip as fn(&Path), |path| fs::remove_file(path).unwrap()] {
        for which in [
            |image: &ImageRecord| image.manifest.clone(),
            |image: &ImageRecord| image.config.clone(),
        ] {
            let shop = Shop::new();
            let (parent, child) = two_images(&shop);
            damage(&shop.store.blob_path(&which(&child)));
            shop.one_fault_that_is_mended();
            let images = shop.store.images().unwrap();
            assert_eq!(
                images.all().iter().map(|image| &image.manifest).collect::<Vec<_>>(),
                [&parent.manifest]
            );
            assert!(shop.is_whole(&parent));
        }
    }
}

#[test]
fn an_image_that_lost_a_layer_in_both_forms_is_no_longer_listed() {
    let shop = Shop::new();
    let (parent, _) = two_images(&shop);
    fs::remove_file(shop.store.blob_path(&parent.layers[0].blob)).unwrap();
    fs::remove_file(shop.layer_file(&parent, "a")).unwrap();
    assert!(shop.check().iter().any(StoreFault::is_left));
    shop.repair();
    assert_eq!(shop.store.images().unwrap().all(), []);
    assert_eq!(shop.check(), []);
}

#[test]
fn damage_of_what_is_in_use_is_left_alone() {
    let shop = Shop::new();
    let (parent, child) = two_images(&shop);
    let held = shop.store.blob(&child.manifest).unwrap();
    fs::remove_file(shop.layer_file(&parent, "a")).unwrap();
    let faults = shop.repair();
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert!(matches!(&faults[0].outcome, FaultOutcome::Left(how) if how.contains("in use")));
    assert!(shop.layer_file(&parent, "b").exists());
    drop(held);
    shop.one_fault_that_is_mended();
}

#[test]
fn a_lost_list_of_images_is_made_anew_without_names() {
    let shop = Shop::new();
    let (parent, child) = two_images(&shop);
    let list = shop.store.root().join("images.json");
    fs::write(&list, "").unwrap();
    fs::remove_file(shop.store.copy_path()).unwrap();
    shop.one_fault_that_is_mended();
    let images = shop.store.images().unwrap();
    assert_eq!(images.all().len(), 2);
    for image in [&parent, &child] {
        let found = images.of_manifest(&image.manifest).unwrap();
        assert_eq!(found.layers, image.layers);
        assert_eq!((&found.config, &found.platform), (&image.config, &image.platform));
        assert_eq!(found.names, []);
    }
    assert!(shop.store.root().join("images.json.damaged").exists());
}

#[test]
fn names_that_can_still_be_read_are_kept() {
    let shop = Shop::new();
    let (parent, child) = two_images(&shop);
    let list = shop.store.root().join("images.json");
    let whole = fs::read(&list).unwrap();
    let text = String::from_utf8(whole.clone()).unwrap();
    let end_of_first = text.find("\n    }").unwrap() + "\n    }".len();
    for cut in (0..whole.len()).step_by(7).chain([end_of_first - 1, end_of_first]) {
        fs::write(&list, &whole[..cut]).unwrap();
        fs::remove_file(shop.store.copy_path()).unwrap();
        assert_eq!(shop.repair().len(), 1, "{cut}");
        let images = shop.store.images().unwrap();
        assert_eq!(images.all().len(), 2, "{cut}");
        assert!(images.of_manifest(&child.manifest).is_some());
        let names = &images.of_manifest(&parent.manifest).unwrap().names;
        assert_eq!(names.is_empty(), cut < end_of_first, "{cut}: {names:?}");
    }
}

#[test]
fn files_of_a_newer_version_are_not_repaired() {
    let shop = Shop::new();
    two_images(&shop);
    let list = shop.store.root().join("images.json");
    fs::write(&list, r#"{"version": 2, "things": []}"#).unwrap();
    assert!(shop.store.check(None).is_err());
    assert_eq!(fs::read(&list).unwrap(), br#"{"version": 2, "things": []}"#);
}

#[test]
fn folders_that_others_can_write_to_are_closed() {
    let shop = Shop::new();
    two_images(&shop);
    fs::set_permissions(shop.store.root().join("layers"), fs::Permissions::from_mode(0o777))
        .unwrap();
    let fault = shop.one_fault_that_is_mended();
    assert_eq!(fault.what, "layers");
}
