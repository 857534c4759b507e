//! Table of all verbs and all their flags, as clap knows them, against docker's grammar.

use clap::CommandFactory;

use super::*;
use crate::cli::Arguments;

fn words(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

fn shortened(line: &[&str]) -> Vec<String> {
    let normalized = normalize(words(line), Arguments::command);
    normalized.iter().map(|word| word.to_str().unwrap().to_owned()).collect()
}

/// Returns the arguments with their values, of the verb and of the levels above it.
type Values = Vec<(String, Vec<OsString>)>;

fn parse(line: &[&str]) -> Result<Values, clap::Error> {
    let normalized = normalize(words(line), Arguments::command);
    let mut matches = Arguments::command().try_get_matches_from(normalized)?;
    let mut values = Values::new();
    loop {
        // Groups of arguments are named after their types.
        let is_group = |id: &&Id| id.as_str().starts_with(char::is_uppercase);
        for id in matches.ids().filter(|id| !is_group(id)) {
            let raw = matches.try_get_raw(id.as_str()).ok().flatten();
            values.extend(raw.map(|raw| (id.to_string(), raw.map(OsStr::to_owned).collect())));
        }
        match matches.remove_subcommand() {
            Some((_, below)) => matches = below,
            None => break,
        }
    }
    values.sort();
    Ok(values)
}

/// Returns the fewest words that make `line` valid for the program.
fn completed<'a>(line: &[&'a str]) -> Option<Vec<&'a str>> {
    let more: [&[&str]; 11] = [
        &[],
        &["x"],
        &["xx", "yy"],
        &["--username", "me"],
        &["--username", "me", "x"],
        &["-o", "lowerdir=/x", "x"],
        &["bash"],
        &["--force", "x"],
        &["--mode", "755", "--path", "x"],
        &["--link", "x::/x"],
        &["--folder", "x"],
    ];
    more.into_iter().map(|more| [line, more].concat()).find(|line| parse(line).is_ok())
}

/// Returns a valid value of the option.
fn sample(verb: &[&str], arg: &Arg, long: &str) -> Option<String> {
    const SAMPLES: [&str; 22] = [
        "net.ipv4.ip_forward=1",
        "1000",
        "10m",
        "HUP",
        "json",
        "1",
        "100m",
        "x",
        "/x",
        "x=1",
        "x:1",
        "x:127.0.0.1",
        "127.0.0.1",
        "host",
        "nofile=1:2",
        "0:1:2",
        "no-new-privileges",
        "/dev/sda:1",
        "type=tmpfs,target=/x",
        "no",
        "CHOWN",
        "amd64/linux",
    ];
    let rest = &completed(verb)?[verb.len()..];
    let fits = |value: &String| {
        let word = format!("--{long}={value}");
        parse(&[verb, &[word.as_str()], rest].concat()).is_ok()
    };
    let known = arg.get_possible_values().into_iter().map(|value| value.get_name().to_owned());
    known.chain(SAMPLES.map(str::to_owned)).find(fits)
}

/// Returns every verb without subcommands, by its words.
fn verbs() -> Vec<(Vec<String>, Command)> {
    fn below(command: &Command, path: &[String], verbs: &mut Vec<(Vec<String>, Command)>) {
        for verb in command.get_subcommands() {
            let path = [path, &[verb.get_name().to_owned()]].concat();
            match verb.has_subcommands() {
                true => below(verb, &path, verbs),
                false => verbs.push((path, verb.clone())),
            }
        }
    }
    let mut verbs = Vec::new();
    let mut grammar = Arguments::command();
    grammar.build();
    below(&grammar, &["usnea".to_owned()], &mut verbs);
    // Verbs of `container` and `image` are the same as at the top.
    let mut known = std::collections::HashSet::new();
    let options =
        |verb: &Command| verb.get_arguments().map(|arg| arg.get_id().to_string()).collect();
    verbs.retain(|(path, verb)| {
        let options: Vec<String> = options(verb);
        known.insert((path.last().cloned(), options))
    });
    verbs
}

fn each_option(mut look: impl FnMut(&[&str], &Command, &Arg, &str)) {
    let verbs = verbs();
    assert!(verbs.len() > 50, "{}", verbs.len());
    for (path, command) in &verbs {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        for arg in command.get_arguments().filter(|arg| !arg.is_positional()) {
            let long = arg.get_long().expect("every option has a long name");
            if !matches!(
                arg.get_action(),
                ArgAction::Help | ArgAction::Version | ArgAction::HelpLong
            ) {
                look(&path, command, arg, long);
            }
        }
    }
}

#[test]
fn every_flag_of_every_verb_takes_the_words_for_yes_and_no_and_may_be_repeated() {
    let mut flags = 0;
    each_option(|verb, _, arg, long| {
        if is_option(arg) {
            return;
        }
        flags += 1;
        let flag = format!("--{long}");
        let form = |value: &str| format!("{flag}={value}");
        let line = completed(&[verb, &[flag.as_str()]].concat());
        let line = line.unwrap_or_else(|| panic!("{verb:?} {flag}"));
        let set = parse(&line).unwrap();
        let rest = &line[verb.len() + 1..];
        for forms in
            [vec![form("true")], vec![form("1"), form("T")], vec![flag.clone(), flag.clone()]]
        {
            let forms: Vec<&str> = forms.iter().map(String::as_str).collect();
            let line = [verb, &forms, rest].concat();
            let got = parse(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"));
            assert_eq!(got, set, "{line:?}");
        }
        assert!(parse(&[verb, &[&form("maybe")], rest].concat()).is_err(), "{verb:?} {flag}");
        let line = completed(verb).unwrap_or_else(|| panic!("{verb:?}"));
        let rest = &line[verb.len()..];
        let unset = parse(&line).unwrap();
        for word in ["false", "0", "F"] {
            let form = form(word);
            let line = [verb, &[flag.as_str(), &form], rest].concat();
            let got = parse(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"));
            if !is_switch(arg) {
                assert_eq!(got, unset, "{line:?}");
            }
        }
        if let Some(short) = arg.get_short() {
            let form = format!("-{short}=false");
            let line = [verb, &[&form], rest].concat();
            let got = parse(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"));
            assert!(is_switch(arg) || got == unset, "{line:?}");
        }
    });
    assert!(flags > 100, "{flags}");
}

#[test]
fn every_option_of_every_verb_may_be_repeated_and_takes_a_hyphen() {
    let (mut options, mut tried) = (0, 0);
    each_option(|verb, _, arg, long| {
        if !is_option(arg) {
            return;
        }
        options += 1;
        let flag = format!("--{long}");
        if let Some(value) = sample(verb, arg, long) {
            tried += 1;
            let line = [verb, &[flag.as_str(), &value, &flag, &value]].concat();
            assert!(completed(&line).is_some(), "{line:?}");
        }
        // The word belongs to the option, valid or not.
        if arg.is_allow_hyphen_values_set()
            && let Err(error) = parse(&[verb, &[&flag, "--help"]].concat())
        {
            assert_ne!(error.kind(), clap::error::ErrorKind::DisplayHelp, "{verb:?} {flag}");
        }
    });
    // A few options accept none of the sample values.
    assert!(tried > 150 && tried * 10 > options * 9, "{tried} of {options}");
}

#[test]
fn an_empty_value_is_none_for_every_option_but_numbers_and_lists() {
    each_option(|verb, _, arg, long| {
        if !is_option(arg) || !may_be_empty(arg) {
            return;
        }
        let line = completed(verb).unwrap_or_else(|| panic!("{verb:?}"));
        let (rest, without) = (&line[verb.len()..], parse(&line).unwrap());
        let (flag, empty) = (format!("--{long}"), format!("--{long}="));
        for form in [&[empty.as_str()][..], &[&flag, ""], &[&flag, "x", &empty]] {
            // An option with an optional value takes it behind an equals sign alone.
            if form.len() > 1 && !needs_value(arg) {
                continue;
            }
            let line = [verb, form, rest].concat();
            assert_eq!(parse(&line).ok(), Some(without.clone()), "{line:?}");
        }
    });
}

#[test]
fn options_end_at_the_first_word_where_a_command_follows() {
    let mut found = Vec::new();
    for (path, command) in verbs() {
        let verb: Vec<&str> = path.iter().map(String::as_str).collect();
        let Some(list) = command.get_positionals().find(|arg| arg.is_trailing_var_arg_set()) else {
            continue;
        };
        found.push(verb[1..].join(" "));
        let all = |line: &[&str]| {
            let values = parse(line).unwrap_or_else(|error| panic!("{line:?}: {error}"));
            let words = values.into_iter().find(|(id, _)| id == list.get_id().as_str());
            words.map(|(_, words)| words).unwrap_or_default()
        };
        for after in [
            &["--help"][..],
            &["--", "x"],
            &["-c", "max=1"],
            &["--network=host", "-d", "--rm=true", "--name="],
            &["", "--name", ""],
            &["--root", "/x", "--log-level", "debug"],
            &["--nosuch"],
        ] {
            let line = [&verb, &["IMG"][..], after].concat();
            assert_eq!(all(&line), [&["IMG"], after].concat(), "{line:?}");
            let line = [&verb, &["--", "IMG"][..], after].concat();
            assert_eq!(all(&line), [&["IMG"], after].concat(), "{line:?}");
        }
        assert!(parse(&[&verb, &["--nosuch", "IMG"][..]].concat()).is_err());
        for arg in command.get_arguments().filter_map(Arg::get_long) {
            let after = format!("--{arg}");
            assert_eq!(all(&[&verb, &["IMG", &after][..]].concat()), ["IMG", &after]);
        }
    }
    let expected = ["create", "exec", "run", "spec", "top"];
    assert!(
        expected.iter().all(|verb| found.iter().any(|found| found.ends_with(verb))),
        "{found:?}"
    );
}

#[test]
fn words_that_clap_reads_as_docker_are_left_alone() {
    let line = ["usnea", "run", "-it", "-e", "A=", "--label=x=1", "img", "--rm", "-x"];
    assert_eq!(normalize(words(&line), || unreachable!()), words(&line));
}

#[test]
fn the_last_value_of_a_flag_counts() {
    for (line, wanted) in [
        ("run --rm=false img", "run img"),
        ("run --rm --rm=0 -it=false img", "run -i img"),
        ("run -itP=T img --rm=false", "run -i -t -P img --rm=false"),
        ("run --name a --name= img", "run img"),
        ("run -e= --entrypoint= img", "run -e= --entrypoint= img"),
        ("run --memory= img", "run --memory= img"),
        ("run --pull never --rm=false img", "run --pull never img"),
        ("run --pull --rm=false img", "run --pull img"),
        ("run --sig-proxy=0 img", "run --sig-proxy=false img"),
        ("run --sig-proxy --rm=1 img", "run --sig-proxy --rm img"),
        ("run -v=/a:/b --user= img", "run -v=/a:/b img"),
        ("run -v/a:/b -u= -- img --user=", "run -v=/a:/b -- img --user="),
        ("--root= run --rm=1 img", "--root= run --rm img"),
        ("container rm --force=T a -v=false b", "container rm --force a b"),
        ("ps --all=maybe -q=true", "ps --all=maybe -q"),
        ("ps --nosuch --all=true", "ps --nosuch --all=true"),
        ("rm -- --force=true", "rm -- --force=true"),
    ] {
        let line: Vec<&str> = std::iter::once("usnea").chain(line.split(' ')).collect();
        assert_eq!(shortened(&line)[1..].join(" "), wanted);
    }
}

#[test]
fn an_empty_word_after_an_option_is_its_value() {
    let line = ["usnea", "run", "--user", "", "-w", "", "img", "", "--user", ""];
    assert_eq!(shortened(&line), ["usnea", "run", "img", "", "--user", ""]);
}
