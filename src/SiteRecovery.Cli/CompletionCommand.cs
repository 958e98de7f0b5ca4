using System.CommandLine;

namespace SiteRecovery.Cli;

/// <summary>
/// Scripts that let a shell ask srctl itself what may follow: <c>srctl "[suggest:CURSOR]" "LINE"</c>, built into System.CommandLine.
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
            srctl "[suggest:"(string length -- "$line")"]" "$line" 2>/dev/null
        end
        complete -c srctl -a '(__srctl_suggest)'
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
}
