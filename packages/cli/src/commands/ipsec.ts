import { readFile } from 'node:fs/promises'
import { addAbortSignal } from 'node:stream'
import { text } from 'node:stream/consumers'
import { KEY_ALGORITHMS, type KeyAlgorithm, parseEncryptStatus, readNode, stateCluster } from '@cni-offload/adapter-cilium/ipsec'
import { OffloadError } from '@cni-offload/sdk'
import { Command, Option } from 'commander'
import { agentEngine } from '../ipsec/agent-engine.ts'
import { agentSubjects } from '../ipsec/agents.ts'
import { dryRun, enable } from '../ipsec/enable.ts'
import { surveyPage } from '../ipsec/page.ts'
import { rotate } from '../ipsec/rotate.ts'
import { nodeKeys, nodeKeysText, underWay } from '../ipsec/rotation-progress.ts'
import { SECRET_NAME } from '../ipsec/secret.ts'
import type { Subject } from '../ipsec/subject.ts'
import { holds, look, type Survey, survey, watch } from '../ipsec/survey.ts'
import { thisNode } from '../ipsec/this-node.ts'
import { runTraffic } from '../ipsec/traffic.ts'
import { kubectlFrom, type KubectlFlags, withKubectlOptions } from '../kubectl/command-options.ts'
import { untilInterrupted } from './interrupt.ts'
import { count } from './options.ts'

const say = (line: string): boolean => process.stdout.write(`${line}\n`)

/** `offload ipsec …`: encryption between nodes by Cilium, its keys, and what is really encrypted. */
export function ipsecCommand(): Command {
  return new Command('ipsec')
    .description('IPsec of Cilium: its keys, and what is really encrypted, and by what')
    .addCommand(enableCommand())
    .addCommand(rotateCommand())
    .addCommand(statusCommand())
    .addCommand(verifyCommand())
}

interface Place extends KubectlFlags {
  readonly namespace: string
  readonly secret: string
}

const withPlace = (command: Command): Command =>
  withKubectlOptions(command)
    .option('--namespace <name>', "Cilium's namespace", 'kube-system')
    .option('--secret <name>', 'name of the secret (encryption.ipsec.secretName)', SECRET_NAME)

interface Enable extends Place {
  readonly algorithm: KeyAlgorithm
  readonly spi: number
  readonly dryRun?: true
  readonly showKey?: true
}

function enableCommand(): Command {
  return withPlace(new Command('enable'))
    .description('make a key and the secret with it in the cluster, unless there is one, and say what to set in Cilium')
    .addOption(new Option('--algorithm <name>', 'what the key is for').choices(KEY_ALGORITHMS).default('gcm-128'))
    .option('--spi <n>', 'number of the key, 1 to 15', count, 3)
    .option('--dry-run', 'print the manifest and ask nothing of the cluster')
    .option('--show-key', 'with a new key in the printed manifest')
    .action(async (options: Enable) => {
      using interrupted = untilInterrupted()
      const { namespace, secret: name, algorithm, spi } = options
      const what = { place: { namespace, name }, choice: { algorithm, spi } }
      if (options.showKey === true && options.dryRun !== true)
        throw new OffloadError('INVALID_CONFIG', '--show-key: only a dry run prints a manifest', { hint: 'Add --dry-run.' })
      if (options.dryRun === true) return void process.stdout.write(dryRun(what, options.showKey === true))
      say(await enable(kubectlFrom(options), what, interrupted.signal))
    })
}

interface Rotate extends Place {
  readonly force?: true
  readonly dryRun?: true
  readonly json?: true
}

function rotateCommand(): Command {
  return withPlace(new Command('rotate'))
    .description('put the next key into the secret: the next SPI, all else as it was')
    .option('--force', 'also while the last rotation is under way, or if nobody knows')
    .option('--dry-run', 'look at all, and write nothing')
    .option('--json', 'as JSON')
    .action(async (options: Rotate) => {
      using interrupted = untilInterrupted()
      const { namespace, secret: name, force = false, dryRun: dry = false } = options
      const {
        from,
        to,
        text: told,
      } = await rotate(kubectlFrom(options), { place: { namespace, name }, force, dryRun: dry }, interrupted.signal)
      say(options.json === true ? JSON.stringify({ from, to, written: !dry }, null, 2) : told)
    })
}

interface Where extends KubectlFlags {
  readonly namespace: string
  readonly socket?: string | true
  readonly agentMetrics?: string
  readonly json?: true
}

const DEFAULT_SOCKET = '/var/run/cilium/cilium.sock'

const withWhere = (command: Command): Command =>
  withKubectlOptions(command)
    .option('--namespace <name>', "Cilium's namespace", 'kube-system')
    .option('--socket [path]', `this machine, a DPU: its agent (${DEFAULT_SOCKET}) and its kernel, instead of the cluster's agents`)
    .option('--agent-metrics <url>', 'with --socket: metrics of the agent of cni-offload, for the crypto engine of its hardware')
    .option('--json', 'as JSON')

async function subjectsOf(options: Where, signal: AbortSignal): Promise<readonly Subject[]> {
  const { socket, namespace, agentMetrics: url } = options
  if (url !== undefined && socket === undefined)
    throw new OffloadError('INVALID_CONFIG', `--agent-metrics = ${url}: it is of one DPU`, { hint: 'Add --socket, on that DPU.' })
  if (socket !== undefined) {
    const engine = url === undefined ? {} : { engine: { from: url, read: (until: AbortSignal) => agentEngine(url, until) } }
    return [thisNode({ socket: socket === true ? DEFAULT_SOCKET : socket, ...engine })]
  }
  return await agentSubjects(kubectlFrom(options), namespace, signal)
}

function print(found: Survey, json: boolean, more: Readonly<Record<string, string>> = {}): void {
  const lines = Object.entries(more).map(([name, value]) => `${name}: ${value}`)
  say(json ? JSON.stringify({ ...found, ...more }, null, 2) : surveyPage(found, lines))
}

function statusCommand(): Command {
  return withWhere(new Command('status'))
    .description('say what is encrypted, and whether hardware does it, with the evidence')
    .option('--from <file>', 'read what "cilium-dbg encrypt status" or "cilium encrypt status" has printed; - for standard input')
    .action(async (options: Where & { readonly from?: string }) => {
      using interrupted = untilInterrupted()
      const { signal } = interrupted
      const json = options.json === true
      if (options.from !== undefined) return print(await printedSurvey(options.from, signal), json)
      const subjects = await subjectsOf(options, signal)
      const found = survey(subjects, await look(subjects, signal))
      print(found, json, options.socket === undefined ? await keysOfNodes(options, signal) : {})
    })
}

/** Which keys nodes send with; that it cannot be told is no reason not to tell the rest. */
async function keysOfNodes(options: Where, signal: AbortSignal): Promise<Readonly<Record<string, string>>> {
  try {
    const keys = await nodeKeys(kubectlFrom(options), signal)
    return { 'nodes send with': nodeKeysText(keys), rotation: underWay(keys) ? 'under way' : 'none is under way' }
  } catch (error) {
    if (signal.aborted) throw error
    return { 'nodes send with': `not known: ${OffloadError.from(error).message}` }
  }
}

/** What a file says that somebody else's command has printed. */
async function printedSurvey(file: string, signal: AbortSignal): Promise<Survey> {
  const content = await (file === '-' ? text(addAbortSignal(signal, process.stdin)) : readFile(file, { encoding: 'utf8', signal })).catch(
    (error: unknown) => {
      signal.throwIfAborted()
      throw OffloadError.from(error, 'IO_FAILURE', `--from = ${file}`)
    },
  )
  const from = file === '-' ? 'standard input' : file
  const printed = parseEncryptStatus(content)
  if (printed.scope === 'cluster') {
    const all = stateCluster(printed.cluster, from)
    return { all, nodes: [all] }
  }
  const subjects = printed.nodes.map((status, index): Subject => ({
    name: status.node ?? (printed.nodes.length === 1 ? 'the node' : `node ${index + 1}`),
    read: async () => await readNode({ status: { from, read: () => status } }),
  }))
  return survey(subjects, await look(subjects, signal))
}

interface Verify extends Where {
  readonly within: number
  readonly hardware?: true
}

function verifyCommand(): Command {
  return withWhere(new Command('verify'))
    .description('look twice, and fail unless packets were encrypted in between on every node')
    .argument('[traffic...]', 'a command that makes traffic between nodes, such as: -- kubectl exec a -- ping -c 3 10.0.1.7')
    .option('--within <seconds>', 'how long to wait for traffic to show', count, 30)
    .option('--hardware', 'fail also unless hardware is shown to do it')
    .action(async (traffic: readonly string[], options: Verify) => {
      using interrupted = untilInterrupted()
      const { signal } = interrupted
      const hardware = options.hardware === true
      const [program, ...args] = traffic
      const found = await watch(
        await subjectsOf(options, signal),
        {
          withinMs: options.within * 1000,
          hardware,
          ...(program === undefined ? {} : { traffic: (until: AbortSignal) => runTraffic([program, ...args], until) }),
        },
        signal,
      )
      print(found, options.json === true)
      if (!holds(found, hardware)) process.exitCode = 1
    })
}
