//! Formats: the same templates print the same text as in docker and podman.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const LAYOUT: Layout = Layout {
    table: "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}",
    headings: &[("ID", "IMAGE ID"), ("CreatedSince", "CREATED")],
};

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    #[serde(rename = "ID")]
    id: &'static str,
    repository: &'static str,
    tag: &'static str,
    created_since: &'static str,
    created_at: &'static str,
    size: u64,
}

fn rows() -> [Row; 2] {
    let row = |id, repository, tag, created_since, size| Row {
        id,
        repository,
        tag,
        created_since,
        created_at: "2026-01-02",
        size,
    };
    [
        row("e15dbfac2d2b", "debian", "12", "3 weeks ago", 117),
        row("0123456789ab", "a/tool", "x\t\u{1b}[2J", "2 days ago", 7),
    ]
}

fn print(format: &str) -> Result<String> {
    render(&format.parse()?, &LAYOUT, Headings::Shown, &rows())
}

fn image() -> Value {
    json!({
        "Id": "sha256:1", "RepoTags": ["debian:12", "debian:bookworm"], "RepoDigests": [],
        "Size": 42, "Config": {
            "Cmd": ["bash", "-c", "<x> & y"], "Env": ["A=1"], "User": "", "Tty": false, "Volumes": {},
            "Labels": {"a.b": "1", "c": "d"}, "Healthcheck": null,
        },
        "RootFS": {"Type": "layers", "Layers": ["sha256:a", "sha256:b"]},
    })
}

fn inspect(template: &str) -> Result<String> {
    template.parse::<Template>()?.row(&image())
}

#[test]
fn the_default_table_is_dockers() {
    assert_eq!(
        print("table").unwrap(),
        "\
REPOSITORY   TAG            IMAGE ID       CREATED       SIZE
debian       12             e15dbfac2d2b   3 weeks ago   117
a/tool       x\\t\\u{1b}[2J   0123456789ab   2 days ago    7
"
    );
    let hidden = render(&Format::default(), &LAYOUT, Headings::Hidden, &rows()[..1]).unwrap();
    assert_eq!(hidden, "debian    12        e15dbfac2d2b   3 weeks ago   117\n");
    // No rows: the headings alone.
    let none = render::<Row>(&Format::default(), &LAYOUT, Headings::Shown, &[]);
    assert_eq!(none.unwrap(), "REPOSITORY   TAG       IMAGE ID   CREATED   SIZE\n");
}

#[test]
fn a_table_of_a_template_has_the_headings_of_its_fields() {
    for (format, heading) in [
        (r"table {{.ID}}\t{{.CreatedAt}}", "IMAGE ID       CREATED AT"),
        ("table {{.ID}}\t{{.CreatedAt}}", "IMAGE ID       CREATED AT"),
        (r"table\t{{.Size}}", "SIZE"),
        (
            r"table {{upper .Tag}} {{json .ID}}\t{{truncate .Repository 3}}",
            "TAG IMAGE ID                  REPOSITORY",
        ),
        (
            r#"table {{printf "%05d" .Size}}\t{{if eq .Size 7}}{{.Tag}}{{else}}{{.ID}}{{end}}"#,
            "SIZE      TAG",
        ),
    ] {
        assert_eq!(print(format).unwrap().lines().next(), Some(heading), "{format}");
    }
    // Sums of headings do not exist: then no headings are printed.
    let counted = print("table {{len .Nope}}");
    assert!(counted.is_err(), "{counted:?}");
    assert_eq!(print("table {{range 2}}{{.}}{{end}}x").unwrap().lines().count(), 3);
}

#[test]
fn headings_go_into_what_has_parts() {
    let image = [image()];
    let table =
        |format: &str| render(&format.parse().unwrap(), &LAYOUT, Headings::Shown, &image).unwrap();
    assert_eq!(
        table(
            r#"table {{.RootFS.Type}}\t{{join .Config.Cmd "-"}}\t{{range .RepoTags}}{{.}} {{end}}"#
        ),
        "TYPE      CMD               REPO TAGS\nlayers    bash--c-<x> & y   debian:12 debian:bookworm\n"
    );
    assert_eq!(table("table {{.RepoTags}}"), "REPO TAGS\n[debian:12 debian:bookworm]\n");
    assert_eq!(table("table {{index .RepoTags 0}}"), "REPO TAGS\ndebian:12\n");
}

#[test]
fn templates_print_a_line_for_each_row() {
    let two = "debian:12\na/tool:x\t\u{1b}[2J\n";
    assert_eq!(print("{{.Repository}}:{{.Tag}}").unwrap(), two);
    assert_eq!(print("{{.Repository}}:{{.Tag}}\\n").unwrap(), two);
    assert_eq!(print(r"{{.ID}}\t{{.Size}}").unwrap(), "e15dbfac2d2b\t117\n0123456789ab\t7\n");
    let none = render::<Row>(&"{{.ID}}".parse().unwrap(), &LAYOUT, Headings::Shown, &[]);
    assert_eq!(none.unwrap(), "");
}

#[test]
fn json_is_one_array() {
    let text = print("json").unwrap();
    let value: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value[0]["ID"], "e15dbfac2d2b");
    assert_eq!(value[1]["Tag"], "x\t\u{1b}[2J");
    assert!(text.ends_with("]\n"));
    assert_eq!(render::<Row>(&Format::Json, &LAYOUT, Headings::Shown, &[]).unwrap(), "[]\n");
    assert_eq!(
        print("{{json .}}").unwrap().lines().next().unwrap(),
        r#"{"CreatedAt":"2026-01-02","CreatedSince":"3 weeks ago","ID":"e15dbfac2d2b","Repository":"debian","Size":117,"Tag":"12"}"#
    );
}

// Templates for docker inspect and podman inspect, with their output.
#[test]
fn templates_do_what_gos_do() {
    for (template, text) in [
        ("{{.Config.Cmd}}", "[bash -c <x> & y]"),
        ("{{json .Config.Cmd}}", r#"["bash","-c","<x> & y"]"#),
        ("{{json .Config.Healthcheck}}", "null"),
        ("{{range .RootFS.Layers}}{{println .}}{{end}}", "sha256:a\nsha256:b\n"),
        (
            "{{range $i, $e := .RepoTags}}{{if $i}}, {{end}}{{$e}}{{end}}",
            "debian:12, debian:bookworm",
        ),
        ("{{range $k, $v := .Config.Labels}}{{$k}}={{$v}};{{end}}", "a.b=1;c=d;"),
        ("{{range .RepoDigests}}x{{else}}none{{end}}", "none"),
        ("{{index .RepoTags 0}}", "debian:12"),
        (r#"{{index .Config.Labels "a.b"}}"#, "1"),
        (r#"[{{index .Config.Labels "no"}}]"#, "[]"),
        (r#"[{{index .Config.Healthcheck "no"}}]"#, "[]"),
        (r#"{{if index .Config.Labels "no"}}y{{else}}n{{end}}"#, "n"),
        (r#"{{(index .RepoTags 1) | upper}}"#, "DEBIAN:BOOKWORM"),
        (r#"{{join .RepoTags ", "}}"#, "debian:12, debian:bookworm"),
        (r#"{{join .RepoTags "\n"}}"#, "debian:12\ndebian:bookworm"),
        (r#"{{index (split .Id ":") 1}}"#, "1"),
        (r#"{{join (split "abc" "") "-"}}"#, "a-b-c"),
        (r#"{{title "ab cd-e it's"}}"#, "Ab Cd-E It's"),
        (r#"{{lower "ÄB"}}{{truncate "größe" 3}}{{truncate "a" 3}}"#, "äbgröa"),
        (r#"[{{pad "x" 2 3}}][{{pad "" 2 3}}]"#, "[  x   ][]"),
        ("{{len .RepoTags}} {{len .Config.Labels}} {{len .Id}}", "2 2 8"),
        ("{{with .Config}}{{.Tty}}{{end}}{{with .Config.User}}u{{else}}root{{end}}", "falseroot"),
        ("{{if and (eq .Size 42) (not .Config.Tty)}}yes{{end}}", "yes"),
        (r#"{{printf "%-6s|%3d|%q" "a" .Size "b"}}"#, r#"a     | 42|"b""#),
        ("{{/* a remark */}}a {{- 1 -}} b", "a1b"),
        ("{{$x := .Size}}{{$x}} {{$.Id}} {{true}}", "42 sha256:1 true"),
        ("{{.Config.Healthcheck}}", "<no value>"),
        (r#"{{define "t"}}<{{.}}>{{end}}{{template "t" .Size}}"#, "<42>"),
        ("{{.Config.Volumes}} {{.Config.Labels}}", "map[] map[a.b:1 c:d]"),
        ("plain", "plain"),
        ("", ""),
    ] {
        assert_eq!(inspect(template).expect(template), text, "{template}");
    }
}

#[test]
fn what_is_wrong_is_said() {
    for (template, words) in [
        ("{{.Nope}}", "template '{{.Nope}}': there is no field 'Nope'"),
        ("{{.Config.Nope}}", "there is no field 'Nope'"),
        ("{{.Size.Nope}}", "Nope"),
        ("{{.Config.Labels.no}}", "there is no field 'no'"),
        ("{{index .RepoTags 2}}", "index out of range: 2"),
        ("{{index .RepoTags -1}}", "index out of range: -1"),
        (r#"{{index .RepoTags "a"}}"#, "cannot index list with type string"),
        ("{{nope .Id}}", "nope"),
        ("{{.Id", "unclosed action"),
        ("{{if .Id}}", "template '{{if .Id}}': no {{end}} for 'if'"),
        ("{{end}}", "template '{{end}}': unexpected {{end}}"),
        ("{{nil}}", "nil is not a command"),
        ("{{json}}", "it is 'json VALUE'"),
        ("{{join .Id}}", "it is 'join LIST TEXT-BETWEEN'"),
        ("{{truncate .Id -1}}", "it is 'truncate TEXT LENGTH'"),
        ("{{pad .Id 1 9999999}}", "it is 'pad TEXT BEFORE AFTER'"),
        ("{{upper .Size}}", "it is 'upper TEXT'"),
        (
            "{{range .Size}}{{range $.Size}}{{range $.Size}}{{range 999999}}{{end}}{{end}}{{end}}{{end}}",
            "budget",
        ),
    ] {
        let error = inspect(template).expect_err(template);
        assert!(error.to_string().contains(words), "{template}: {error}");
    }
    let hint = print("{{.Nope}}").unwrap_err();
    assert_eq!(
        hint.hint_text(),
        Some("fields: CreatedAt, CreatedSince, ID, Repository, Size, Tag")
    );
}

#[test]
fn the_first_word_tells_the_format() {
    assert!(matches!("table".parse(), Ok(Format::Table(None))));
    assert!(matches!(" table ".parse(), Ok(Format::Table(None))));
    assert!(matches!("table {{.ID}}".parse(), Ok(Format::Table(Some(_)))));
    assert!(matches!("json".parse(), Ok(Format::Json)));
    for text in ["tables", "{{json .}}", "JSON", ""] {
        assert!(matches!(text.parse(), Ok(Format::Template(_))), "{text}");
    }
    assert!("table {{".parse::<Format>().is_err());
}

// Deeper than any stack: the limits must hold in threads of two megabytes, as here.
#[test]
fn nesting_ends_in_an_error() {
    for (open, close) in [("(", ")"), ("{{if 1}}", "{{end}}"), ("{{with 1}}", "{{end}}")] {
        let middle = if open == "(" { "1" } else { "" };
        let (left, right) = if open == "(" { ("{{", "}}") } else { ("", "") };
        let text =
            format!("{left}{}{middle}{}{right}", open.repeat(100_000), close.repeat(100_000));
        assert!(text.parse::<Template>().and_then(|template| template.row(&image())).is_err());
    }
    assert!(inspect(r#"{{define "t"}}{{template "t"}}{{end}}{{template "t"}}"#).is_err());
}

proptest! {
    #[test]
    fn no_text_panics(text in ".*") {
        if let Ok(format) = text.parse::<Format>() {
            let _ = render(&format, &LAYOUT, Headings::Shown, &[image()]);
        }
    }

    #[test]
    fn no_action_panics(
        words in prop::collection::vec(prop::sample::select(vec![
            "{{", "}}", "{{-", "-}}", " ", ".", "$", "$x", ":=", "|", "(", ")", "\"", "`", "'", "\\", "/*", "*/", ".Config",
            ".RepoTags", ".Size", "range", "if", "with", "else", "end", "define", "template", "block", "index", "printf",
            "json", "join", "split", "truncate", "pad", "slice", "len", "eq", "lt", "and", "call", "break", "continue",
            "\"%[3]*.[2]*[1]f\"", "\"%q%x%U%c\"", "-1", "0x7fffffffffffffff", "1e400", "99999", "\"é\"", "nil", "true",
        ]), 0..24),
    ) {
        for text in [words.concat(), words.join(" "), format!("{{{{{}}}}}", words.join(" "))] {
            if let Ok(format) = text.parse::<Format>() {
                let _ = render(&format, &LAYOUT, Headings::Shown, &[image()]);
            }
        }
    }
}
