import { readFile } from 'node:fs/promises'
import { Command } from 'commander'
import { DEFAULT_SOCKET } from '@cni-offload/host'
import { OffloadError, parseWith } from '@cni-offload/sdk'
import { pathsFrom } from '@cni-offload/sdk/runtime'
import { parse } from 'yaml'
import { z } from 'zod'
import { askNode } from '../inspect/ask.ts'
import { page, unknown } from '../inspect/page.ts'
import { parseQuery, type Query } from '../inspect/query.ts'
import { type Selection, select } from '../inspect/select.ts'

interface Options {
  readonly config: string
  readonly socket?: string
  readonly json?: boolean
}

/** `offload inspect`: all that a node knows of a pod. */
export function inspectCommand(): Command {
  return new Command('inspect')
    .description('all that this node knows of a pod: host and DPU, VF, addresses, what was repaired, what failed')
    .argument('<what>', 'namespace/pod, a container id or its begin, or network/container/interface')
    .option('--config <file>', "the host daemon's configuration", '/etc/cni-offload/host.yaml')
    .option('--socket <path>', "the host daemon's socket, instead of the one in its configuration")
    .option('--json', 'as JSON')
    .action(async (what: string, options: Options) => {
      const query = parseQuery(what)
      const found = select(await askNode(options.socket ?? (await socketOf(options.config))), query)
      if (!show([found], query, options.json === true)) process.exitCode = 1
    })
}

/** Prints what was found on some nodes. @returns whether anything was */
export function show(selections: readonly Selection[], query: Query, json: boolean): boolean {
  const hits = selections.filter(({ failures, subjects }) => failures.length + subjects.length > 0)
  const text = hits.length === 0 ? selections.map((one) => unknown(one, query.text)) : hits.map(page)
  process.stdout.write(
    `${json ? JSON.stringify(selections.length === 1 ? selections[0] : { nodes: selections }, null, 2) : text.join('\n\n')}\n`,
  )
  return hits.length > 0
}

const hostConfig = z.object({ socket: z.string().default(DEFAULT_SOCKET) })

async function socketOf(file: string): Promise<string> {
  const text = await readFile(file, 'utf8').catch((error: Error) => {
    throw new OffloadError('INVALID_CONFIG', `${file} cannot be read: ${error.message}`, {
      cause: error,
      hint: "Name the host daemon's configuration with --config, or its socket with --socket.",
    })
  })
  const { socket } = parseWith(hostConfig, parse(text), file, 'INVALID_CONFIG')
  return pathsFrom(file)(socket)
}
