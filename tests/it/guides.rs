//! README and the guides in section 7 of the manual: links lead to files, commands parse, flags exist, pages are formatted
//! without warnings, and README stays short.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::process::Command;

use crate::support::{Place, binary, finish, need, source};

const LONGEST_README: usize = 200;
const LARGEST_PICTURE: usize = 60_000;

/// Flags of other programs that the guides name.
const FLAGS_OF_OTHERS: [&str; 22] = [
    "--armor",
    "--bench",
    "--bind",
    "--container",
    "--export",
    "--fuzz",
    "--isolation",
    "--key",
    "--lib",
    "--mem",
    "--mount-proc",
    "--mpi",
    "--now",
    "--ntasks-per-node",
    "--nv",
    "--release",
    "--set-env",
    "--short",
    "--target",
    "--test",
    "--unshare-all",
    "--writable-tmpfs",
];

/// The names of the guides, such as `usnea-network`.
fn guides() -> Vec<String> {
    let entries = fs::read_dir(source().join("man")).expect("man/").flatten();
    let names = entries.map(|entry| entry.file_name().into_string().expect("a UTF-8 name"));
    let mut guides: Vec<_> =
        names.filter_map(|name| name.strip_suffix(".7").map(str::to_owned)).collect();
    guides.sort();
    assert!(guides.len() >= 8, "{guides:?}");
    guides
}

fn readme() -> String {
    fs::read_to_string(source().join("README.md")).expect("README.md")
}

/// The roff text of a guide.
fn guide(name: &str) -> String {
    fs::read_to_string(source().join("man").join(format!("{name}.7"))).expect("a guide")
}

/// The text of roff without its escapes for characters and fonts.
fn plain(roff: &str) -> String {
    let escapes = [
        (r"\(ti", "~"),
        (r"\(ha", "^"),
        (r"\(ga", "`"),
        (r"\(aq", "'"),
        (r"\(mc", "µ"),
        (r"\(bu", "*"),
        (r"\fB", ""),
        (r"\fI", ""),
        (r"\fR", ""),
        (r"\&", ""),
        (r"\-", "-"),
        (r"\e", "\\"),
    ];
    escapes
        .iter()
        .fold(roff.to_owned(), |text, (escape, character)| text.replace(escape, character))
}

/// The examples of a guide: the text between EX and EE.
pub fn examples(name: &str) -> Vec<String> {
    let text = guide(name);
    let blocks = text.split("\n.EX\n").skip(1).filter_map(|rest| rest.split("\n.EE").next());
    blocks.map(plain).collect()
}

/// The shell examples of README.
fn examples_of_readme() -> Vec<String> {
    let text = readme();
    let blocks = text.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.map(str::to_owned).collect()
}

/// The simple commands of a shell script, each as its words. Quotes are removed; nothing is expanded.
fn commands(script: &str) -> Vec<Vec<String>> {
    let mut done = Vec::new();
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut characters = script.chars().peekable();
    while let Some(character) = characters.next() {
        match (quote, character) {
            (Some(end), _) if character == end => quote = None,
            (Some(_), _) => word.get_or_insert_default().push(character),
            (None, '\'' | '"') => {
                word.get_or_insert_default();
                quote = Some(character);
            }
            (None, '\\') => match characters.next() {
                Some('\n') | None => {}
                Some(next) => word.get_or_insert_default().push(next),
            },
            (None, '#') if word.is_none() => {
                while characters.next_if(|next| *next != '\n').is_some() {}
            }
            (None, _) if character.is_whitespace() || "|&;<>".contains(character) => {
                words.extend(word.take());
                // The word after a redirection counts as one of the command: harmless for its grammar.
                if "\n|&;".contains(character) && !words.is_empty() {
                    done.push(std::mem::take(&mut words));
                }
                if "<>".contains(character) {
                    characters.by_ref().find(|next| !next.is_whitespace());
                    while characters.next_if(|next| !next.is_whitespace()).is_some() {}
                }
            }
            (None, _) => word.get_or_insert_default().push(character),
        }
    }
    words.extend(word);
    if !words.is_empty() {
        done.push(words);
    }
    done
}

/// The command line of usnea in a command: after variables, another program's words, or docker's name.
fn of_usnea(words: &[String]) -> Option<Vec<String>> {
    let is_cargo = words.first().is_some_and(|first| first == "cargo");
    let name = match is_cargo {
        true => words.iter().position(|word| word == "--")?,
        false => words.iter().position(|word| word == "usnea" || word == "docker")?,
    };
    let rest = words[name + 1..].iter().cloned();
    Some(std::iter::once("usnea".to_owned()).chain(rest).collect())
}

/// A word after the expansion of the one variable that the examples have.
fn expand(word: &str) -> OsString {
    word.replace("$PWD", "/project").into()
}

#[test]
fn scripts_are_split_as_a_shell_splits_them() {
    let script = "a 'b c' \\\n  d\"e f\"  # no\nX=1 g >h | i && j; k <l m\n";
    let found: Vec<String> = commands(script).iter().map(|words| words.join("_")).collect();
    assert_eq!(found, ["a_b c_de f", "X=1_g", "i", "j", "k_m"]);
}

#[test]
fn commands_of_readme_and_guides_parse() {
    let guides = guides();
    let of_guides = guides.iter().flat_map(|name| {
        examples(name).into_iter().map(move |example| (format!("{name}(7)"), example))
    });
    let of_readme =
        examples_of_readme().into_iter().map(|example| ("README.md".to_owned(), example));
    let (mut parsed, mut wrong) = (0, Vec::new());
    for (page, example) in of_readme.chain(of_guides) {
        // A drawing or a configuration file has no command at the start of a line.
        let is_script =
            !example.contains("|--") && !example.starts_with('[') && example.contains("usnea");
        for words in
            commands(&example).iter().filter(|_| is_script).filter_map(|words| of_usnea(words))
        {
            parsed += 1;
            if let Err(error) = usnea::cli::parse(words.iter().map(|word| expand(word)).collect()) {
                wrong.push(format!("{page}: {}: {error}", words.join(" ")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(parsed > 60, "{parsed} commands");
}

#[test]
fn readme_is_short_and_its_links_lead_to_files() {
    let text = readme();
    assert!(text.lines().count() <= LONGEST_README, "{} lines", text.lines().count());
    let headings: BTreeSet<String> = text
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .map(|heading| heading.to_lowercase().replace(' ', "-"))
        .collect();
    for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
        match target.strip_prefix('#') {
            Some(heading) => assert!(headings.contains(heading), "no heading {heading}"),
            None => assert!(source().join(target).is_file(), "{target} is no file"),
        }
    }
}

#[test]
fn guides_are_linked_and_their_names_say_what_they_are_about() {
    let (text, overview) = (readme(), plain(&guide("usnea")));
    for name in guides() {
        assert!(text.contains(&format!("(man/{name}.7)")), "README has no link to {name}(7)");
        assert!(overview.contains(&format!("{name}(7)")) || name == "usnea", "usnea(7): {name}");
        let page = plain(&guide(&name));
        let title = page.lines().find(|line| line.starts_with(".TH ")).expect("a title");
        assert!(title.starts_with(&format!(".TH {} 7 ", name.to_uppercase())), "{title}");
        let line = page.split(".SH NAME\n").nth(1).and_then(|rest| rest.lines().next());
        let (own, about) = line.and_then(|line| line.split_once(" - ")).expect("a NAME line");
        assert!(own == name && about.split(' ').count() >= 4 && !about.ends_with('.'), "{line:?}");
        for section in [".SH DESCRIPTION\n", ".SH SEE ALSO\n"] {
            assert!(page.contains(section), "{name}(7) has no {section}");
        }
    }
}

#[test]
fn pages_and_flags_that_are_named_exist() {
    let mut flags = BTreeSet::from(FLAGS_OF_OTHERS.map(str::to_owned));
    add_flags(&usnea::cli::command(), &mut flags);
    for name in guides() {
        let text = guide(&name);
        let own_words = plain(&text.replace(r"\fB", "\\fB ").replace(r"\fR", " "));
        let words = own_words.split([' ', '\n', '|', ',', '\'', '"', '=', '[']);
        for flag in words.filter(|word| word.len() > 3 && word.starts_with("--")) {
            assert!(flags.contains(flag), "{name}(7): no command has {flag}");
        }
    }
    let names = guides().into_iter().map(|name| (format!("{name}(7)"), plain(&guide(&name))));
    for (page, text) in names.chain([("README.md".to_owned(), readme())]) {
        for (at, _) in text.match_indices("usnea") {
            let named = &text[at..];
            let end = named.find(|c: char| !c.is_ascii_lowercase() && c != '-').unwrap_or(0);
            let section = named[end..].strip_prefix('(').and_then(|rest| rest.split_once(')'));
            if let Some((section @ ("1" | "7"), _)) = section {
                let file = format!("man/{}.{section}", &named[..end]);
                assert!(source().join(&file).is_file(), "{page} names {file}");
            }
        }
    }
}

/// Adds the long flags of a command and of those below it.
fn add_flags(command: &clap::Command, flags: &mut BTreeSet<String>) {
    for argument in command.get_arguments() {
        let longs =
            argument.get_long().into_iter().chain(argument.get_all_aliases().into_iter().flatten());
        flags.extend(longs.map(|long| format!("--{long}")));
    }
    command.get_subcommands().for_each(|below| add_flags(below, flags));
}

#[test]
fn guides_are_formatted_without_warnings() {
    if !need("groff") {
        return;
    }
    for name in guides() {
        let mut groff = Command::new("groff");
        groff.args(["-t", "-man", "-ww", "-z"]).arg(source().join("man").join(format!("{name}.7")));
        let ran = finish(&mut groff, "");
        assert!(ran.works().is_empty() && ran.stderr.is_empty(), "{name}: {ran:?}");
    }
}

#[test]
fn the_picture_of_a_terminal_is_small_text_without_names_of_a_machine() {
    check_picture(
        &fs::read_to_string(source().join("packaging/terminal.svg")).expect("the picture"),
    );
}

#[test]
fn the_picture_of_a_terminal_can_be_made_again() {
    if !["python3", "slirp4netns", "bash", "hostname"].into_iter().all(need) {
        return;
    }
    let place = Place::new();
    let picture = place.path("terminal.svg");
    let mut script = Command::new("python3");
    script.arg(source().join("packaging/screenshot")).arg(binary()).arg(&picture);
    script.env("TMPDIR", place.folder("tmp"));
    finish(&mut script, "").works();
    check_picture(&fs::read_to_string(picture).expect("a picture"));
    let left: Vec<_> = fs::read_dir(place.path("tmp")).expect("the folder").collect();
    assert!(left.is_empty(), "{left:?}");
}

fn check_picture(picture: &str) {
    assert!(picture.len() < LARGEST_PICTURE, "{} bytes", picture.len());
    assert!(picture.starts_with("<svg ") && picture.matches("<text ").count() > 20, "{picture}");
    for command in ["$ usnea run ", "$ usnea ps<", "$ usnea doctor ", "site"] {
        assert!(picture.contains(command), "{command} in {picture}");
    }
    for foreign in ["/tmp", "/root", "/work", "<image", "usnea-it"] {
        assert!(!picture.contains(foreign), "{foreign} in {picture}");
    }
    let homes = picture.matches("/home/").count();
    assert_eq!(homes, picture.matches("/home/user").count(), "{picture}");
}
