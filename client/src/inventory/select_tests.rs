use std::path::Path;
use std::sync::Arc;

use super::super::lookup::Answer;
use super::*;

const CONFIG: &str = "\
[hosts.web2]
address = '10.0.0.2'
tags = ['front', 'rack1']
[hosts.web1]
address = '10.0.0.1'
user = 'anna'
tags = ['front']
[hosts.db1]
address = 'db.example:99'
tags = ['rack1']
[hosts.old]
enabled = false
tags = ['rack1', 'dusty']
[groups.web]
hosts = ['web[1-2]']
[groups.storage]
hosts = ['old', 'db1']
groups = ['web']
[groups.none]
[groups.attic]
hosts = ['old']
";

/// `-H…`, `-g…`, `-x…` and `--tags…`, separated by blanks.
fn selection(words: &str) -> Selection {
    let mut selection = Selection::default();
    let list = |text: &str| -> Vec<String> { text.split(',').map(str::to_owned).collect() };
    for word in words.split_whitespace() {
        match word.split_at(2) {
            ("-H", rest) => selection.hosts = Some(rest.parse().unwrap()),
            ("-x", rest) => selection.exclude = Some(rest.parse().unwrap()),
            ("-g", rest) => selection.groups = list(rest),
            ("-t", rest) => selection.tags = list(rest),
            _ => panic!("{word}"),
        }
    }
    selection
}

async fn run(words: &str, config: &str, options: &ConnectionArgs) -> Result<Selected, String> {
    let paths = Paths::find(Some(Path::new("/c/config.toml"))).unwrap();
    let config = Config::parse(&paths.config, config).unwrap();
    let resolver: Resolver =
        Arc::new(|name| if name.starts_with("dns") { Answer::Known } else { Answer::Silence });
    let selected = select_with(&selection(words), &config, &paths, options, &resolver).await;
    selected.map_err(|error| error.to_string())
}

fn options() -> ConnectionArgs {
    ConnectionArgs { user: Some("anna".into()), ..Default::default() }
}

async fn hosts(words: &str) -> String {
    let selected = run(words, CONFIG, &options()).await.unwrap_or_else(|error| panic!("{words}: {error}"));
    selected.hosts.iter().map(HostSpec::to_string).collect::<Vec<_>>().join(" ")
}

async fn refused(words: &str) -> String {
    run(words, CONFIG, &options()).await.unwrap_err()
}

#[tokio::test]
async fn hosts_come_in_the_order_typed_and_groups_in_that_of_their_definition() {
    for (words, expected) in [
        ("-Hweb1,db1", "web1 db1"),
        ("-Hweb[1-2]", "web1 web2"),
        ("-gweb", "web1 web2"),
        ("-gstorage", "db1 web1 web2"),
        ("-gall", "web2 web1 db1"),
        ("-Hdb1, -gweb", "db1 web1 web2"),
        ("-gstorage,web -Hweb2", "web2 db1 web1"),
        ("-Hanna@10.0.0.9:7,[::1]:5", "anna@10.0.0.9:7 [::1]:5"),
        ("-track1", "web2 db1"),
        ("-tfront,rack1", "web2 web1 db1"),
        ("-gweb -track1", "web2"),
        ("-Hweb1,10.0.0.9 -tfront", "web1"),
    ] {
        assert_eq!(hosts(words).await, expected, "{words}");
    }
}

#[tokio::test]
async fn a_host_of_several_names_runs_once_under_the_first() {
    assert_eq!(hosts("-H10.0.0.1,web1,anna@web1,10.0.0.1:26228 -gweb").await, "10.0.0.1 web2");
    assert_eq!(hosts("-HDB.EXAMPLE:99,db1").await, "DB.EXAMPLE:99");
    assert_eq!(hosts("-Hweb1,eve@web1,web1:7").await, "web1 eve@web1 web1:7");
    // What an option says for all of them takes part.
    let eve = ConnectionArgs { user: Some("eve".into()), port: Some(9), ..Default::default() };
    let selected = run("-Hweb1,eve@web1,web1:9,web1:26228", CONFIG, &eve).await.unwrap();
    assert_eq!(selected.hosts.len(), 2, "{selected:?}");
}

#[tokio::test]
async fn what_is_excluded_stays_out_however_it_is_named() {
    for (words, expected) in [
        ("-gall -xdb1", "web2 web1"),
        ("-gall -xweb[1-20]", "db1"),
        ("-gall -xweb", "db1"),
        ("-gall -xanna@10.0.0.1", "web2 db1"),
        ("-Hanna@web1:7,web2 -xweb1", "web2"),
        ("-Hweb1,web1:7 -xweb1:7", "web1"),
        ("-Hdns1,web1 -xdns1,dns1", "web1"),
        ("-gall -xold,web1", "web2 db1"),
        ("-gweb -xnone", "web1 web2"),
    ] {
        assert_eq!(hosts(words).await, expected, "{words}");
    }
    assert!(refused("-gall -xweb3").await.contains("-x web3: there is no such host or group"));
    assert!(refused("-gall -xstorag").await.ends_with("did you mean 'storage'?"));
    assert!(refused("-gall -xdb[5-9]").await.contains("no such host"));
}

#[tokio::test]
async fn disabled_hosts_are_left_out_and_named() {
    let selected = run("-Hold,web1 -gstorage", CONFIG, &options()).await.unwrap();
    assert_eq!(selected.disabled, ["old"]);
    assert!(!selected.hosts.iter().any(|host| host.host == "old"));
    let only = refused("-gattic").await;
    assert!(only.contains("all hosts of the selection are disabled in /c/config.toml"), "{only}");
    assert!(only.ends_with("ftclient hosts add --enabled old"), "{only}");
}

#[tokio::test]
async fn an_empty_selection_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("f");
    std::fs::write(&file, "# nobody\n").unwrap();
    for (words, says) in [
        (format!("-H@{}", file.display()), format!("there is no host in -H @{}", file.display())),
        ("-gnone".to_owned(), "there is no host in -g none".to_owned()),
        ("-gweb -tdusty".to_owned(), "there is no host with the tag dusty in -g web".to_owned()),
        (
            "-gweb -xall".to_owned(),
            "nothing is left: -x leaves out all hosts of the selection (2)".to_owned(),
        ),
        (
            "-tfrnot".to_owned(),
            "no host has the tag 'frnot' in /c/config.toml; did you mean 'front'?".to_owned(),
        ),
        ("-gwbe".to_owned(), "there is no group 'wbe' in /c/config.toml; did you mean 'web'?".to_owned()),
    ] {
        assert_eq!(refused(&words).await, says, "{words}");
    }
    assert_eq!(run("-gall", "", &options()).await.unwrap_err(), "there is no host in -g all");
    assert_eq!(run("", "", &options()).await.unwrap_err(), "there is no host in /c/config.toml");
}

#[tokio::test]
async fn bare_words_that_nobody_knows_are_found_before_anything_begins() {
    assert_eq!(
        hosts("-Hdns1,web1,other.example,localhost,wbe1:7").await,
        "dns1 web1 other.example localhost wbe1:7"
    );
    assert_eq!(
        refused("-Hweb1,wbe1").await,
        "there is no host 'wbe1': it is neither in /c/config.toml nor known to DNS; did you mean 'web1'?"
    );
    let several = refused("-Hwbe[1-3],dns1,zzzz").await;
    assert!(several.starts_with("there are no hosts wbe[1-3], zzzz: they are neither in"), "{several}");
    assert_eq!(hosts("-Hwbe1,web1 -xwbe1").await, "web1", "what is left out is not looked up");
    let via = ConnectionArgs { via: Some("ssh x ftserver stdio".into()), ..options() };
    assert_eq!(run("-Ha,b", "", &via).await.unwrap().hosts.len(), 2);
}

#[test]
fn the_grammar_says_whether_there_are_many() {
    for (words, single) in
        [("-Hweb1", Some("web1")), ("-Hweb1,", None), ("-gweb", None), ("-Hweb1 -tx", None), ("", None)]
    {
        assert_eq!(selection(words).single().map(HostSpec::to_string).as_deref(), single, "{words}");
    }
    assert!(!selection("").is_fleet() && !selection("-Hweb1").is_fleet());
    for words in ["-Hweb1,", "-Hweb[1]", "-H@f", "-gweb", "-tx"] {
        assert!(selection(words).is_fleet(), "{words}");
    }
}
