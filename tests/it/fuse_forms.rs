//! Forms of whiteouts where the upper file system is not like others: an overlay of ours holds no devices 0:0, ramfs no
//! attributes.

use crate::fuse_overlay::script;
use crate::support::{Place, need, need_that};

/// Changes `m`, which stands on `lower`, and says what must be seen of it.
const CHANGE: &str = "
    change() { rm m/gone; rm -r m/d; mkdir m/d; echo new > m/d/new; mv m/file m/moved; rm m/e/in; touch m/empty; rm m/again; echo again > m/again; }
    check() { is \"$(cd m; find . | sort | tr '\\n' ' ')\" '. ./again ./d ./d/new ./e ./e/other ./empty ./moved '
        is \"$(cat m/again m/moved m/d/new | tr '\\n' ' ')\" 'again file new '; }
    mkdir lower/d lower/e; for f in gone d/in e/in e/other file again; do echo ${f##*/} > lower/$f; done\n";

#[test]
fn whiteouts_by_attribute_are_read_by_the_kernel_s_overlay() {
    if !need("unshare") || !need_that(kernel() >= [6, 8], "an overlay that reads them (kernel 6.8)")
    {
        return;
    }
    let text = "mkdir base outer_upper outer_work outer
        $usnea mount overlay -o lowerdir=base,upperdir=outer_upper,workdir=outer_work outer; mkdir outer/u outer/w
        inner() { $usnea mount overlay -o lowerdir=lower,upperdir=outer/u,workdir=outer/w m; }
        inner; change; check; umount m; until inner; do sleep 0.01; done 2> /dev/null; check; umount m
        test -f outer/u/gone -a ! -s outer/u/gone
        mount -t overlay -o userxattr,lowerdir=outer/u:lower overlay m; check; umount m
        $usnea mount overlay -o lowerdir=outer/u:lower m; check; umount m; umount outer";
    script(&Place::new(), &format!("{CHANGE}{text}")).works();
}

#[test]
fn folders_are_opaque_by_name_on_a_file_system_without_attributes() {
    if !need("unshare") {
        return;
    }
    let text = "mount -t ramfs r upper; mkdir upper/u upper/w
        inner() { $usnea mount overlay -o lowerdir=lower,upperdir=upper/u,workdir=upper/w m; }
        inner; change; check; fails touch m/.wh.mine; says 'not permitted'; umount m
        until inner; do sleep 0.01; done 2> /dev/null; check; umount m
        test -c upper/u/gone -a -e upper/u/d/.wh..wh..opq; umount -l upper";
    script(&Place::new(), &format!("{CHANGE}{text}")).works();
}

/// The kernel's version.
fn kernel() -> [u32; 2] {
    let name = rustix::system::uname();
    let release = name.release().to_str().expect("ASCII");
    let mut numbers = release.split('.').map(|number| number.parse().unwrap_or(0));
    [numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)]
}
