//! Deferred grammar: that of fifty commands takes as long as listing a thousand containers, so each is built on use.

use clap::{ArgMatches, Args, Command, FromArgMatches};

use super::grammar;

/// Arguments of a subcommand, built on use: until then, the rest of the grammar only knows that they exist.
pub struct Late<T>(pub T);

impl<T: Args> Args for Late<T> {
    fn group_id() -> Option<clap::Id> {
        T::group_id()
    }

    fn augment_args(command: Command) -> Command {
        command.defer(|command| {
            // clap takes the summary of any group of arguments that is flattened into `T` for that of the command.
            let about = command.get_about().cloned();
            let command = grammar::allow_hyphens(T::augment_args(command));
            about.into_iter().fold(command, Command::about)
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        command.defer(|command| grammar::allow_hyphens(T::augment_args_for_update(command)))
    }
}

impl<T: FromArgMatches> FromArgMatches for Late<T> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        T::from_arg_matches(matches).map(Self)
    }

    fn from_arg_matches_mut(matches: &mut ArgMatches) -> Result<Self, clap::Error> {
        T::from_arg_matches_mut(matches).map(Self)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.0.update_from_arg_matches(matches)
    }

    fn update_from_arg_matches_mut(&mut self, matches: &mut ArgMatches) -> Result<(), clap::Error> {
        self.0.update_from_arg_matches_mut(matches)
    }
}
