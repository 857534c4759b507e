//! The manual pages of section 1 in `man/` are generated from the command line. `USNEA_UPDATE=1` writes them again. The
//! guides of section 7 are written by hand (`guides.rs`).

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::support::source;

#[test]
fn the_manual_pages_are_those_of_the_command_line() {
    let mut command = usnea::cli::command().disable_help_subcommand(true);
    command.build();
    let mut pages = BTreeMap::new();
    render(&command, "usnea", &mut pages);
    compare(&source().join("man"), &pages);
}

/// First words that leave the reader to guess what the command does: a verb belongs there.
const NO_VERBS: [&str; 14] = [
    "A", "An", "The", "What", "How", "Who", "It", "This", "That", "They", "For", "With", "Be",
    "Look",
];

#[test]
fn the_name_line_of_every_page_says_what_the_command_does() {
    let folder = source().join("man");
    let names = fs::read_dir(&folder).expect("man/").flatten().map(|entry| entry.file_name());
    let names = names.map(|name| name.into_string().expect("a UTF-8 name"));
    let pages: Vec<_> = names.filter(|name| name.ends_with(".1") && name != "usnea.1").collect();
    assert!(pages.len() > 100, "{pages:?}");
    for page in pages {
        let text = fs::read_to_string(folder.join(&page)).expect("a page").replace("\\-", "-");
        let line = text.split(".SH NAME\n").nth(1).and_then(|rest| rest.lines().next());
        let (name, about) = line.and_then(|line| line.split_once(" - ")).expect("a NAME line");
        assert_eq!(format!("{name}.1"), page);
        let words: Vec<_> = about.split(' ').collect();
        let is_verb = words[0].starts_with(|c: char| c.is_ascii_uppercase())
            && !words[0].ends_with("ing")
            && !NO_VERBS.contains(&words[0]);
        assert!(is_verb && words.len() >= 2 && !about.ends_with('.'), "{page}: {about}");
    }
}

/// One page a command. Without version and date: a release must not make every page another one.
fn render(command: &clap::Command, name: &str, pages: &mut BTreeMap<String, Vec<u8>>) {
    let man =
        clap_mangen::Man::new(command.clone()).title(name).date("").source("usnea").manual("usnea");
    let mut page = Vec::new();
    let sections = [
        clap_mangen::Man::render_title,
        clap_mangen::Man::render_name_section,
        clap_mangen::Man::render_synopsis_section,
        clap_mangen::Man::render_description_section,
        clap_mangen::Man::render_options_section,
    ];
    for section in sections {
        section(&man, &mut page).expect("a page in memory");
    }
    // An empty SUBCOMMANDS section is what clap_mangen writes for a command that has none.
    let below: Vec<_> = command.get_subcommands().filter(|below| !below.is_hide_set()).collect();
    if !below.is_empty() {
        man.render_subcommands_section(&mut page).expect("a page in memory");
    }
    let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    if let Some(examples) = after.strip_prefix("Examples:\n") {
        let lines = examples.lines().map(|line| line.trim_start().replace('\\', "\\e"));
        let lines: Vec<_> =
            lines.map(|line| format!("    {}\n", line.replace('-', "\\-"))).collect();
        let section = format!(".SH EXAMPLES\n.nf\n{}.fi\n", lines.concat());
        page.extend(section.replace('\'', "\\(aq").bytes());
    }
    page.extend(see_also(name).into_bytes());
    pages.insert(format!("{name}.1"), page);
    for below in below {
        render(below, &format!("{name}-{}", below.get_name()), pages);
    }
}

/// The section that names the guides about a command.
fn see_also(name: &str) -> String {
    let guides: &[&str] = match name.strip_prefix("usnea-container-").unwrap_or(name) {
        "usnea" => &[
            "",
            "-containers",
            "-storage",
            "-identity",
            "-network",
            "-limits",
            "-units",
            "-security",
            "-hpc",
            "-internals",
            "-speed",
        ],
        "usnea-run" | "run" | "usnea-create" | "create" | "usnea-spec" => {
            &["", "-containers", "-storage", "-identity", "-network", "-limits", "-security"]
        }
        "usnea-image"
        | "usnea-pull"
        | "usnea-push"
        | "usnea-volume"
        | "usnea-mount-overlay"
        | "usnea-mount-squashfs" => &["-storage"],
        "usnea-image-spread" | "usnea-slurm" | "usnea-slurm-bundle" => &["-hpc"],
        "usnea-unshare" => &["-identity"],
        "usnea-update" | "update" | "usnea-stats" | "stats" => &["-limits"],
        "usnea-quadlet" => &["-units"],
        "usnea-port" | "port" | "usnea-network" | "usnea-pod" => &["-network"],
        _ => return String::new(),
    };
    let names: Vec<String> = guides
        .iter()
        .map(|guide| format!("\\fBusnea{}\\fR(7)", guide.replace('-', "\\-")))
        .collect();
    format!(".SH \"SEE ALSO\"\n{}\n", names.join(",\n"))
}

fn compare(folder: &Path, wanted: &BTreeMap<String, Vec<u8>>) {
    if std::env::var_os("USNEA_UPDATE").is_some_and(|value| value == "1") {
        fs::create_dir_all(folder).expect("the folder");
        for (name, content) in wanted {
            fs::write(folder.join(name), content).expect("a file of the source tree");
        }
    }
    for (name, content) in wanted {
        let found = fs::read(folder.join(name)).unwrap_or_default();
        let found = String::from_utf8_lossy(&found);
        let wanted = String::from_utf8_lossy(content);
        let first = wanted.lines().zip(found.lines()).find(|(wanted, found)| wanted != found);
        assert!(
            found == wanted,
            "{name} is out of date (USNEA_UPDATE=1 cargo test --test it man:: writes it); first difference: {first:?}"
        );
    }
    for entry in fs::read_dir(folder).expect("the folder").flatten() {
        let name = entry.file_name().into_string().expect("a UTF-8 name");
        let is_guide = name.ends_with(".7");
        assert!(
            is_guide || wanted.contains_key(&name),
            "{name} in {} belongs to no command",
            folder.display()
        );
    }
}
