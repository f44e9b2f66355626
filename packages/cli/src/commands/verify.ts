import { systemClock } from '@cni-offload/sdk'
import { Command, InvalidArgumentError } from 'commander'
import { kubectlFrom, type KubectlFlags, withKubectlOptions } from '../kubectl/command-options.ts'
import { starwarsText } from '../verify/starwars/report.ts'
import { verifyStarwars } from '../verify/starwars/run.ts'
import { untilInterrupted } from './interrupt.ts'
import { count } from './options.ts'

interface Starwars extends KubectlFlags {
  readonly namespace: string
  readonly node: readonly string[]
  readonly image: string
  readonly shipImage: string
  readonly readyTimeout: number
  readonly settleTimeout: number
  readonly keep?: true
  readonly json?: true
}

/** `offload verify …`: shows in a cluster that what should work does. */
export function verifyCommand(): Command {
  return new Command('verify').description('show in a cluster that what should work does').addCommand(starwarsCommand())
}

function starwarsCommand(): Command {
  const command = new Command('starwars')
    .description("Cilium's Star Wars demo: services, and policies for layers 3, 4 and 7; its namespace is removed in the end")
    .option('--namespace <name>', 'namespace that is made for it', kubernetesName, 'offload-starwars')
    .option(
      '--node <name>',
      'node that it runs on, such as one with a DPU (repeatable)',
      (name, nodes: readonly string[]) => [...nodes, kubernetesName(name)],
      [],
    )
    .option('--image <image>', 'image of the deathstar', 'quay.io/cilium/starwars:v2.1')
    .option('--ship-image <image>', 'image of the ships; it needs curl', 'quay.io/cilium/json-mock:v1.3.8')
    .option('--ready-timeout <seconds>', 'longest that pods may take to be ready', count, 180)
    .option('--settle-timeout <seconds>', 'longest that a policy may take to be in force', count, 60)
    .option('--keep', 'leave it there')
  return withKubectlOptions(command)
    .option('--json', 'as JSON')
    .action(async (options: Starwars) => {
      using interrupted = untilInterrupted()
      const report = await verifyStarwars({
        kubectl: kubectlFrom(options),
        app: { namespace: options.namespace, image: options.image, shipImage: options.shipImage, nodes: [...new Set(options.node)] },
        clock: systemClock,
        readyMs: options.readyTimeout * 1000,
        settleMs: options.settleTimeout * 1000,
        pauseMs: 1000,
        keep: options.keep === true,
        signal: interrupted.signal,
        removalSignal: interrupted.again,
        progress: (text) => void process.stderr.write(`${text}\n`),
      })
      process.stdout.write(`${options.json === true ? JSON.stringify(report, null, 2) : starwarsText(report)}\n`)
      if (!report.ok) process.exitCode = 1
    })
}

function kubernetesName(text: string): string {
  if (/^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/.test(text)) return text
  throw new InvalidArgumentError('a name of Kubernetes is expected: lower-case letters, digits, "-" and ".".')
}
