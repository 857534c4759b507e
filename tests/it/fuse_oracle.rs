//! Random operations on the kernel's overlay and on ours: over folders, and over images of these folders.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};

use crate::fuse_overlay::{inside, is_inside};
use crate::fuse_sequence::{Below, Operation, apply, layer, make, operation, seen, whiteouts};
use crate::support::{binary, has_kernel_overlay, need, not_applicable};

/// Sequences of operations; USNEA_TEST_CASES for more, USNEA_TEST_SEED for others.
const CASES: u32 = 60;

#[test]
fn random_operations_answer_and_leave_what_they_do_on_the_kernels_overlay() {
    if !has_kernel_overlay() {
        return not_applicable("this kernel has no overlay for us");
    }
    inside("fuse_oracle::run_inside");
}

#[test]
fn random_operations_over_images_are_those_over_their_folders() {
    if !has_kernel_overlay() {
        return not_applicable("this kernel has no overlay for us");
    }
    if need("mksquashfs") {
        inside("fuse_oracle::run_over_images_inside");
    }
}

#[test]
#[ignore = "run by the test above, in a user namespace"]
fn run_inside() {
    if is_inside() {
        run(Lowers::Folders, CASES);
    }
}

#[test]
#[ignore = "run by the test above, in a user namespace"]
fn run_over_images_inside() {
    if is_inside() {
        run(Lowers::Images, CASES / 2);
    }
}

fn run(lowers: Lowers, cases: u32) {
    let seed = std::env::var("USNEA_TEST_SEED").map_or(7, |seed| seed.parse().expect("a number"));
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
    let cases =
        std::env::var("USNEA_TEST_CASES").map_or(cases, |cases| cases.parse().expect("a number"));
    let config =
        Config { cases, failure_persistence: None, max_shrink_iters: 1500, ..Config::default() };
    let layers = proptest::collection::vec(layer(), 1..4);
    let operations = proptest::collection::vec(operation(), 1..60);
    TestRunner::new_with_rng(config, rng)
        .run(&(layers, operations), |(layers, operations)| compare(&layers, lowers, &operations))
        .expect("the same");
}

/// Which overlay.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Kernels,
    Ours,
}

/// The lower layers of ours: the kernel's has the folders.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Lowers {
    Folders,
    Images,
}

/// A mounted overlay in a folder of its own.
struct Overlay {
    folder: PathBuf,
    lowers: usize,
    form: Lowers,
}

impl Overlay {
    fn new(folder: &Path, layers: &[Vec<Below>], form: Lowers) -> Self {
        for name in ["upper", "work", "merged"] {
            fs::create_dir_all(folder.join(name)).expect("a folder");
        }
        let mut below = Vec::new();
        for (number, layer) in layers.iter().enumerate().rev() {
            let root = folder.join(format!("lower{number}"));
            fs::create_dir(&root).expect("a folder");
            make(&root, layer, &below);
            if form == Lowers::Images {
                pack(&root);
            }
            below.push(root);
        }
        Self { folder: folder.to_owned(), lowers: layers.len(), form }
    }

    fn merged(&self) -> PathBuf {
        self.folder.join("merged")
    }

    fn mount(&self, kind: Kind) {
        let end = match (kind, self.form) {
            (Kind::Ours, Lowers::Images) => ".sqsh",
            _ => "",
        };
        let lowers: Vec<String> =
            (0..self.lowers).map(|number| format!("lower{number}{end}")).collect();
        let options = format!("lowerdir={},upperdir=upper,workdir=work", lowers.join(":"));
        let mut command = match kind {
            Kind::Kernels => Command::new("mount"),
            Kind::Ours => Command::new(binary()),
        };
        match kind {
            Kind::Kernels => {
                let options = format!("userxattr,{options}");
                command.args(["-t", "overlay", "overlay", "-o", &options, "merged"])
            }
            Kind::Ours => command.args(["mount", "overlay", "-o", &options, "merged"]),
        };
        let output = command.current_dir(&self.folder).output().expect("a mount");
        assert!(output.status.success(), "{kind:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn unmount(&self) {
        rustix::mount::unmount(self.merged(), rustix::mount::UnmountFlags::empty())
            .expect("unmounted");
    }
}

/// Packs a folder into the image FOLDER.sqsh.
fn pack(folder: &Path) {
    let words = ["-quiet", "-no-progress", "-noappend"];
    let image = folder.with_extension("sqsh");
    let made = Command::new("mksquashfs").arg(folder).arg(image).args(words).output();
    let made = made.expect("mksquashfs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

fn compare(
    layers: &[Vec<Below>],
    form: Lowers,
    operations: &[Operation],
) -> Result<(), TestCaseError> {
    let place = tempfile::tempdir().expect("a folder");
    let kernels = Overlay::new(&place.path().join("kernels"), layers, form);
    let ours = Overlay::new(&place.path().join("ours"), layers, form);
    kernels.mount(Kind::Kernels);
    ours.mount(Kind::Ours);
    let answer = run_both(&kernels, &ours, operations);
    let trees = (seen(&kernels.merged()), seen(&ours.merged()));
    kernels.unmount();
    ours.unmount();
    answer?;
    same("the trees", &trees.0, &trees.1)?;
    let upper = |overlay: &Overlay| whiteouts(&overlay.folder.join("upper"));
    same("the whiteouts", &upper(&kernels), &upper(&ours))?;
    // Each mounts what the other wrote.
    ours.mount(Kind::Kernels);
    kernels.mount(Kind::Ours);
    let swapped = (seen(&kernels.merged()), seen(&ours.merged()));
    kernels.unmount();
    ours.unmount();
    same("ours, by the kernel", &trees.1, &swapped.1)?;
    same("the kernel's, by ours", &trees.0, &swapped.0)
}

fn run_both(
    kernels: &Overlay,
    ours: &Overlay,
    operations: &[Operation],
) -> Result<(), TestCaseError> {
    for (number, operation) in operations.iter().enumerate() {
        let expected = apply(&kernels.merged(), operation);
        let answer = apply(&ours.merged(), operation);
        if expected != answer {
            return Err(TestCaseError::fail(format!(
                "operation {number}, {operation:?}: the kernel's {expected}, ours {answer}"
            )));
        }
    }
    Ok(())
}

fn same<T: PartialEq + std::fmt::Debug>(
    what: &str,
    kernels: &[T],
    ours: &[T],
) -> Result<(), TestCaseError> {
    let only = |some: &[T], others: &[T]| -> Vec<String> {
        some.iter().filter(|one| !others.contains(one)).map(|one| format!("{one:?}")).collect()
    };
    match kernels == ours {
        true => Ok(()),
        false => Err(TestCaseError::fail(format!(
            "{what}: only the kernel's {:?}, only ours {:?}",
            only(kernels, ours),
            only(ours, kernels)
        ))),
    }
}
