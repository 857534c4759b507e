//! `--log-driver journald`: a journald of the test's own, in a user namespace with a /run of its own.

use std::process::Command;

use crate::support::{Place, Ran, binary, finish, need, need_that};

const JOURNALD: &str = "/lib/systemd/systemd-journald";

/// Starts journald, and ends it with the script; `$usnea`, `$image`, `$box` (run with the driver) are words of scripts.
const SETUP: &str = r#"
set -eu
mount -t tmpfs none /run
mkdir -p /run/systemd/journal /run/log/journal/"$(cat /etc/machine-id)"
journald() {
    /lib/systemd/systemd-journald 2> /dev/null &
    journald=$!
    while [ ! -S /run/systemd/journal/socket ]; do sleep 0.05; done
}
stop_journald() { kill -9 $journald; wait $journald 2> /dev/null || :; }
await() { for i in $(seq 600); do ! "$@" > /dev/null 2>&1 || return 0; sleep 0.1; done; echo "never: $*" >&2; return 1; }
has() { [ "$($usnea logs "$1" 2>&1)" = "$2" ]; }
trap stop_journald EXIT
journald
box="$usnea run --log-driver journald"
"#;

/// Runs the script of sh in the namespace. `None`: no journald is here.
fn in_namespace(place: &Place, script: &str) -> Option<Ran> {
    let is_here = need("journalctl") && need("unshare");
    if !is_here || !need_that(std::path::Path::new(JOURNALD).exists(), JOURNALD) {
        return None;
    }
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", &format!("{SETUP}{script}")]);
    command.env("usnea", binary()).env("image", place.image());
    place.prepare(&mut command);
    let ran = finish(&mut command, "");
    place.usnea(&["rm", "--all", "--force", "--time", "0"]).works();
    Some(ran)
}

#[test]
fn the_journal_gets_every_line_with_the_fields_of_docker_and_podman() {
    let place = Place::new();
    let script = r#"
        id=$($box -d --name box --log-opt 'tag={{.Name}}/{{.ID}}' $image sh -c 'echo out; echo err >&2; printf end')
        $usnea wait box > /dev/null
        await has box "$(printf 'out\nerr\nend')"
        fields=CONTAINER_ID,CONTAINER_ID_FULL,CONTAINER_NAME,CONTAINER_TAG,IMAGE_NAME,SYSLOG_IDENTIFIER
        fields=$fields,PRIORITY,MESSAGE,CONTAINER_LOG_ORDINAL,CONTAINER_PARTIAL_MESSAGE
        journalctl -q -o export --output-fields=$fields CONTAINER_NAME=box | grep -v ^_ | sort
        echo $id
    "#;
    let Some(ran) = in_namespace(&place, script) else { return };
    let id = ran.works().lines().last().expect("an ID").to_owned();
    let (image, short) = (place.image(), &id[..12]);
    let mut expected = Vec::new();
    for (message, priority, ordinal) in [("out", 6, 1), ("err", 3, 2), ("end", 6, 3)] {
        expected.extend([
            format!("CONTAINER_ID={short}"),
            format!("CONTAINER_ID_FULL={id}"),
            "CONTAINER_NAME=box".to_owned(),
            format!("CONTAINER_TAG=box/{short}"),
            format!("IMAGE_NAME={image}"),
            format!("SYSLOG_IDENTIFIER=box/{short}"),
            format!("PRIORITY={priority}"),
            format!("MESSAGE={message}"),
            format!("CONTAINER_LOG_ORDINAL={ordinal}"),
        ]);
    }
    expected.push("CONTAINER_PARTIAL_MESSAGE=true".to_owned());
    expected.sort();
    let mut found: Vec<_> = ran.stdout.lines().filter(|line| line.contains('=')).collect();
    found.sort_unstable();
    assert_eq!(found, expected);
}

#[test]
fn logs_reads_the_journal_with_all_its_flags() {
    let place = Place::new();
    let script = r#"
        $box --name box $image sh -c '
            echo one; echo two >&2; sleep 0.2; head -c 100000 /dev/zero | tr "\0" x; echo; echo "" ; printf "a\001b\n"; printf end' > /dev/null 2>&1
        $usnea logs box 2> errors | tr -d x
        echo; echo --; cat errors
        echo --; $usnea logs --tail 2 box
        echo; echo --; $usnea logs --tail 4 box 2>&1 | wc -c
        echo --; $usnea logs -t --tail 1 --names box | sed 's/[0-9]/N/g'
        echo; echo --; $usnea logs --since 1h --until 30m box
        since=$($usnea logs -t box 2> /dev/null | sed -n '2s/ .*//p')
        $usnea logs --since "$since" box | wc -c
        echo --; $usnea logs --follow box 2> /dev/null | wc -c
    "#;
    let Some(ran) = in_namespace(&place, script) else { return };
    let expected = "one\n\n\na\u{1}b\nend\n--\ntwo\n--\na\u{1}b\nend\n--\n100009\n--\n\
        box NNNN-NN-NNTNN:NN:NN.NNNNNNNNNZ end\n--\n100009\n--\n100013";
    assert_eq!(ran.works(), expected, "{}", ran.stderr);
}

#[test]
fn a_follower_of_the_journal_sees_all_and_leaves_at_the_end() {
    let place = Place::new();
    let script = r#"
        $box -d --name box $image sh -c 'i=0; while [ $i -lt 3000 ]; do echo $i; i=$((i+1)); done; sleep 1; echo last' > /dev/null
        $usnea logs --follow box | tail -n 1
        $usnea logs --follow box | wc -l
        $box -d --name slow $image sh -c 'echo a; echo b; while [ ! -e /go ]; do sleep 0.1; done; echo c' > /dev/null
        await has slow "$(printf 'a\nb')"
        $usnea logs --follow --tail 1 slow > followed & follower=$!
        await grep b followed
        $usnea exec slow touch /go
        wait $follower
        cat followed
    "#;
    let Some(ran) = in_namespace(&place, script) else { return };
    assert_eq!(ran.works(), "last\n3001\nb\nc", "{}", ran.stderr);
}

#[test]
fn a_container_outlives_its_journal_and_says_what_is_missing() {
    let place = Place::new();
    let script = r#"
        $box -d --name box $image sh -c '
            echo first; while [ ! -e /lost ]; do sleep 0.1; done; echo lost; touch /is-lost
            while [ ! -e /go ]; do sleep 0.1; done; echo next; while :; do sleep 0.1; done' > /dev/null
        await has box first
        stop_journald; rm /run/systemd/journal/socket
        $usnea exec box touch /lost
        await $usnea exec box ls /is-lost
        # The monitor has read the line.
        $usnea logs box > /dev/null
        $usnea create --log-driver journald --name other $image true 2>&1 && exit 9
        $usnea create --log-driver none --name third $image true > /dev/null
        journald
        $usnea exec box touch /go
        await has box "$(printf 'first\nusnea: 5 bytes were lost\nnext')"
        $usnea stop --time 0 box > /dev/null
        stop_journald; rm /run/systemd/journal/socket
        $usnea start box 2>&1 && exit 9
        journald
        $usnea start box > /dev/null
        $usnea ps --format '{{.Names}}'
    "#;
    let Some(ran) = in_namespace(&place, script) else { return };
    let lines: Vec<_> = ran.works().lines().collect();
    let [create, hint, start, hint_again, running] = &lines[..] else { panic!("{ran:?}") };
    let cause = "--log-driver journald: cannot reach the journal at /run/systemd/journal/socket: No such file or directory";
    assert_eq!(*create, format!("usnea: {cause}"));
    assert!(start.ends_with(cause), "{start}");
    assert!(hint.starts_with("hint: ") && hint == hint_again, "{hint}");
    assert_eq!(*running, "box");
}

#[test]
fn a_tag_that_is_no_template_is_refused() {
    let place = Place::new();
    let script = r#"
        ! $usnea create --log-driver journald --log-opt 'tag={{.Nonsense}}' $image true || exit 9
        ! $usnea create --log-driver journald --log-opt 'tag={{.Name' $image true || exit 9
        $usnea ps --all --quiet
    "#;
    let Some(ran) = in_namespace(&place, script) else { return };
    assert_eq!(ran.works(), "");
    let errors: Vec<_> = ran.stderr.lines().filter(|line| line.starts_with("usnea: ")).collect();
    let begins = |line: &&str| line.starts_with("usnea: --log-opt tag={{.N");
    assert!(errors.len() == 2 && errors.iter().all(begins), "{ran:?}");
}
