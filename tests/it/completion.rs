//! Completion in real shells: what a TAB brings, from the grammar and from the store.

use std::process::Command;

use crate::stocked::Stocked;
use crate::support::{Place, Ran, binary, finish, need, source, text};

const BASH: &str = r#"
. "$SCRIPT"
tab() {
    COMP_LINE=$1 COMP_POINT=${#1}
    local words=()
    # As readline parts the line, at COMP_WORDBREAKS.
    read -r -a words <<< "${1//:/ : }"
    [[ $1 != *' ' ]] || words+=("")
    COMP_WORDS=("${words[@]}") COMP_CWORD=$((${#words[@]} - 1))
    _usnea usnea "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
    printf '%s\n' "${COMPREPLY[@]}"
}
tab "$1"
"#;

const FISH: &str = r#"source $SCRIPT; complete -C "$argv[1]" | string split -f1 \t; true"#;

/// zsh completes in its line editor alone: it is run in a terminal of its own, and the line is read after the TAB.
const ZSH: &str = r#"
zmodload zsh/zpty
zpty shell "zsh -f"
ask() { zpty -w shell "$1"; }
ask "fpath=(${SCRIPT:h} \$fpath); autoload -U compinit; compinit -u -d $TMPDIR/dump; unsetopt zle_bracketed_paste beep"
ask "report() { print -r -- \$BUFFER > $TMPDIR/line.new; mv $TMPDIR/line.new $TMPDIR/line }"
ask "zle -N report; bindkey '^I' complete-word; bindkey '^X' report; print > $TMPDIR/ready"
for i in {1..600}; do [[ -e $TMPDIR/ready ]] && break; sleep 0.05; done
zpty -w -n shell "$1"$'\t\x18'
for i in {1..600}; do [[ -e $TMPDIR/line ]] && break; sleep 0.05; done
zpty -d shell
cat $TMPDIR/line
"#;

/// What a TAB brings at the end of `line`, one word each.
fn tab(stocked: &Stocked, shell: &str, line: &str) -> Vec<String> {
    let place = &stocked.place;
    let bin = place.folder("bin");
    let _ = std::os::unix::fs::symlink(binary(), bin.join("usnea"));
    let (script, program) = match shell {
        "bash" => ("usnea.bash", BASH),
        "fish" => ("usnea.fish", FISH),
        _ => ("_usnea", ZSH),
    };
    let script = source().join("packaging/completions").join(script);
    let mut command = Command::new(shell);
    stocked.at_home(&mut command);
    match shell {
        "bash" => command.args(["--norc", "-c", program, "bash", line]),
        "fish" => command.args(["--no-config", "-c", program, line]),
        _ => command.args(["-f", "-c", program, "zsh", line]),
    };
    let path = format!("{}:{}", text(&bin), std::env::var("PATH").unwrap_or_default());
    let _ = std::fs::remove_dir_all(place.path("zsh"));
    command.env("SCRIPT", script).env("PATH", path).env("TMPDIR", place.folder("zsh"));
    let ran: Ran = finish(&mut command, "");
    assert_eq!(ran.status, 0, "{shell}: {ran:?}");
    let mut words: Vec<String> =
        ran.stdout.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect();
    words.sort();
    words
}

/// A place with an image of two names and two containers, of which one runs.
fn stocked() -> Stocked {
    let stocked = Stocked::new();
    stocked.import("thing:1.5", &[("etc/x", "x")], &[]);
    stocked.usnea(&["tag", "thing:1.5", "thing:latest"]).works();
    stocked.usnea(&["network", "create", "web-net"]).works();
    stocked.usnea(&["pod", "create", "--network", "none", "web-pod"]).works();
    let image = stocked.place.image();
    stocked.usnea(&["create", "--name", "web-one", &image, "true"]).works();
    stocked.usnea(&["run", "-d", "--name", "web-two", &image, "sleep", "1000"]).works();
    stocked
}

fn clean(stocked: &Stocked) {
    stocked.usnea(&["rm", "-f", "web-one", "web-two"]).works();
}

#[test]
fn each_shell_completes_commands_and_the_store_s_names() {
    let stocked = stocked();
    for shell in ["bash", "fish"] {
        if !need(shell) {
            continue;
        }
        assert_eq!(tab(&stocked, shell, "usnea vers"), ["version"], "{shell}");
        assert_eq!(tab(&stocked, shell, "usnea rm web"), ["web-one", "web-two"], "{shell}");
        assert_eq!(tab(&stocked, shell, "usnea stop "), ["web-two"], "{shell}");
        assert_eq!(tab(&stocked, shell, "usnea start "), ["web-one"], "{shell}");
        assert_eq!(tab(&stocked, shell, "usnea network rm web"), ["web-net"], "{shell}");
        assert_eq!(tab(&stocked, shell, "usnea run --network web"), ["web-net"], "{shell}");
        assert_eq!(tab(&stocked, shell, "usnea pod start web"), ["web-pod"], "{shell}");
        assert_eq!(tab(&stocked, shell, "usnea run --pod web"), ["web-pod"], "{shell}");
        let images = tab(&stocked, shell, "usnea rmi thi");
        assert_eq!(images, ["thing:1.5", "thing:latest"], "{shell}");
    }
    clean(&stocked);
}

#[test]
fn zsh_completes_in_its_line_editor() {
    let stocked = stocked();
    if need("zsh") {
        for (typed, completed) in [
            ("usnea vers", "usnea version "),
            ("usnea rm web", "usnea rm web-"),
            ("usnea stop ", "usnea stop web-two "),
            ("usnea rmi thing:l", "usnea rmi thing:latest "),
        ] {
            assert_eq!(tab(&stocked, "zsh", typed), [completed], "{typed}");
        }
    }
    clean(&stocked);
}

#[test]
fn a_tag_is_completed_where_the_shell_parts_words_at_colons() {
    let stocked = stocked();
    if need("bash") {
        let line = |typed: &str| tab(&stocked, "bash", &format!("usnea run --rm {typed}"));
        assert_eq!(line("localhost/thing:l"), ["latest"]);
        assert_eq!(line("localhost/thing:"), ["1.5", "latest"]);
    }
    clean(&stocked);
}

#[test]
fn odd_names_in_a_store_reach_no_shell() {
    let stocked = stocked();
    for name in ["$(touch odd)", "a b", "*", "new\nline", "`x`"] {
        stocked.place.folder(&format!("store/volumes/{name}"));
    }
    for shell in ["bash", "fish"] {
        if need(shell) {
            let words = tab(&stocked, shell, "usnea --root ./store inspect w");
            assert_eq!(words, ["web-one", "web-two"], "{shell}");
        }
    }
    assert!(!stocked.place.path("odd").exists());
    clean(&stocked);
}

#[test]
fn a_completer_is_silent_and_makes_nothing() {
    let place = Place::new();
    let ran = place.usnea(&["__complete", "2", "usnea", "rm", ""]);
    assert_eq!((ran.status, ran.stdout.as_str(), ran.stderr.as_str()), (0, "", ""));
    let ran = place.usnea(&["__complete", "7", "usnea", "rm", ""]);
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""), "{ran:?}");
    assert!(!place.store().exists());
}

#[test]
fn the_scripts_are_those_of_the_program() {
    for (shell, file) in [("bash", "usnea.bash"), ("fish", "usnea.fish"), ("zsh", "_usnea")] {
        let packaged = std::fs::read_to_string(source().join("packaging/completions").join(file));
        let printed = Place::new().usnea(&["completion", shell]);
        assert_eq!(printed.stdout, packaged.expect("the script"), "{shell}");
    }
}
