import type { CommandOutcome } from '@cni-offload/linux/machine'

/** A program of a fake machine. */
export type Command = (args: readonly string[], signal: AbortSignal) => Promise<CommandOutcome> | CommandOutcome

/** A program has ended. */
export function exited(
  exitCode: number,
  { stdout = '', stderr = '' }: { readonly stdout?: string; readonly stderr?: string } = {},
): CommandOutcome {
  return { exitCode, exitSignal: null, stdout, stderr }
}

/** A program has ended well. @param stdout - what it has printed */
export function done(stdout: string = ''): CommandOutcome {
  return exited(0, { stdout })
}

/** A program complains, as the usual tools do. */
export function complains(exitCode: number, text: string): CommandOutcome {
  return exited(exitCode, { stderr: `${text}\n` })
}

/** Arguments that begin with a dash, and the others. */
export function divide(args: readonly string[]): { readonly flags: readonly string[]; readonly words: readonly string[] } {
  return { flags: args.filter((arg) => arg.startsWith('-')), words: args.filter((arg) => !arg.startsWith('-')) }
}
