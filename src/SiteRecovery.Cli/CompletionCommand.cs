using System.CommandLine;
using System.CommandLine.Completions;
using System.CommandLine.Invocation;
using System.CommandLine.Parsing;
using System.Globalization;

namespace SiteRecovery.Cli;

/// <summary>
/// Scripts that let a shell ask srctl itself what may follow: <c>srctl "[suggest:CURSOR]" "LINE"</c>.
/// </summary>
internal static class CompletionCommand
{
    private const string Bash = """
        # srctl completion for bash: source <(srctl completion bash)
        _srctl() {
            local IFS=$'\n' cur="${COMP_WORDS[COMP_CWORD]}"
            COMPREPLY=($(compgen -W "$(srctl "[suggest:${COMP_POINT}]" "${COMP_LINE}" 2>/dev/null)" -- "$cur"))
        }
        complete -o default -F _srctl srctl
        """;

    private const string Zsh = """
        #compdef srctl
        # srctl completion for zsh: source <(srctl completion zsh)
        _srctl() {
            local -a found
            found=("${(@f)$(srctl "[suggest:${CURSOR}]" "${BUFFER}" 2>/dev/null)}")
            if [[ -n "${found[*]}" ]]; then compadd -a found; else _files; fi
        }
        compdef _srctl srctl
        """;

    private const string Fish = """
        # srctl completion for fish: srctl completion fish | source
        function __srctl_suggest
            set -l line (commandline -cp)
            set -l found (srctl "[suggest:"(string length -- "$line")"]" "$line" 2>/dev/null)
            if test (count $found) -gt 0
                printf '%s\n' $found
            else
                __fish_complete_path (commandline -ct)
            end
        end
        complete -c srctl -f -a '(__srctl_suggest)'
        """;

    public static Command Create()
    {
        var shell = new Argument<string>("shell") { Description = "bash, zsh or fish" };
        shell.AcceptOnlyFromAmong("bash", "zsh", "fish");
        var command = new Command("completion", "Print the completion script of a shell: source <(srctl completion bash)") { shell };
        command.SetAction(arguments =>
        {
            Console.Out.WriteLine(arguments.GetValue(shell) switch { "zsh" => Zsh, "fish" => Fish, _ => Bash });
            return ExitCode.Done;
        });
        return command;
    }

    public static void Answer(RootCommand root)
    {
        var directive = root.Directives.OfType<SuggestDirective>().Single();
        directive.Action = new Suggestions(directive);
    }

    /// <summary>System.CommandLine's own answer offers every option before each verb; here options are offered to who begins one.</summary>
    private sealed class Suggestions(SuggestDirective directive) : SynchronousCommandLineAction
    {
        public override int Invoke(ParseResult parseResult)
        {
            var line = parseResult.Tokens.LastOrDefault(t => t.Type != TokenType.Directive)?.Value ?? "";
            var cursor = int.TryParse(parseResult.GetResult(directive)?.Values.FirstOrDefault(), CultureInfo.InvariantCulture, out var given) ? Math.Clamp(given, 0, line.Length) : line.Length;
            var parsed = parseResult.RootCommandResult.Command.Parse(line, parseResult.Configuration);
            var beginsOption = line[..cursor].Split(' ')[^1].StartsWith('-');
            foreach (var found in parsed.GetCompletions(cursor))
                if (beginsOption || !found.Label.StartsWith('-')) Console.Out.WriteLine(found.InsertText ?? found.Label);
            return ExitCode.Done;
        }
    }
}
