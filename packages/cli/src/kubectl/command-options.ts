import type { Command } from 'commander'
import { Kubectl } from './kubectl.ts'

/** What is given to kubectl, from the command line. */
export interface KubectlFlags {
  /** `--kubectl`. */
  readonly kubectl?: string
  /** `--kubeconfig`. */
  readonly kubeconfig?: string
  /** `--context`. */
  readonly context?: string
}

/** Adds `--kubectl`, `--kubeconfig` and `--context` to a command. */
export function withKubectlOptions(command: Command): Command {
  return command
    .option('--kubectl <file>', 'kubectl; the one in PATH by default')
    .option('--kubeconfig <file>', "kubectl's configuration; as kubectl finds it by default")
    .option('--context <name>', 'context of that configuration; the current one by default')
}

/** The kubectl that the options of {@link withKubectlOptions} name. */
export function kubectlFrom({ kubectl, kubeconfig, context }: KubectlFlags): Kubectl {
  return new Kubectl({ executable: kubectl, kubeconfig, context })
}
