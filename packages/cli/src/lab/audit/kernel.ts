import { readdir, readFile, readlink, stat } from 'node:fs/promises'
import { isDeepStrictEqual } from 'node:util'
import { parseNote } from '@cni-offload/linux/function'
import { type Link, type LinuxNet, PRISTINE_TRAITS } from '@cni-offload/linux'
import { formatVfId, OffloadError, parseWith } from '@cni-offload/sdk'
import { exec, inNetns } from '@cni-offload/testing'
import { z } from 'zod'
import type { LabNode } from '../model.ts'
import { labNames, labNamespaces, NETNS_DIR } from '../topology.ts'
import type { Holding, HoldingKind } from './holding.ts'

/** What the kernel gives a link without being asked. */
const DEFAULT_QDISCS: ReadonlySet<string> = new Set(['noqueue', 'fq_codel', 'pfifo_fast', 'mq', 'fq'])

const qdiscs: z.ZodType<{ kind: string; dev: string }[]> = z.array(z.looseObject({ kind: z.string(), dev: z.string() }))

/**
 * What a node holds in the kernel: its namespaces but those of pods, and the links, addresses, queueing disciplines and processes in
 * them. Its daemons are not counted.
 */
export async function kernelHoldings(net: LinuxNet, prefix: string, node: LabNode): Promise<Holding[]> {
  const names = labNames(prefix)
  const own = [node.hostNetns, node.dpuNetns, names.silicon(node.index)]
  const netns = (await labNamespaces(prefix)).filter((name) => own.includes(name) || name.startsWith(`${names.proxyPrefix(node.index)}-`))
  const found: Holding[] = netns.map((name) => ({ node: node.name, kind: 'namespace', what: name }))
  for (const name of netns) found.push(...(await namespaceHoldings(net, node, name)))
  return [...found, ...(await processHoldings(node, netns))]
}

async function namespaceHoldings(net: LinuxNet, node: LabNode, name: string): Promise<Holding[]> {
  const path = `${NETNS_DIR}/${name}`
  const links = await net.links(path)
  const found: Holding[] = links.map((link) => ({ node: node.name, kind: kindOf(link), what: describeLink(link, links, name) }))
  for (const { name: dev } of links)
    for (const address of await net.addresses(path, dev))
      found.push({ node: node.name, kind: 'address', what: `${address} on ${dev} in ${name}` })
  for (const { kind, dev } of await foreignQdiscs(path)) {
    const target = await net.redirectTarget(path, dev)
    const redirect = target === undefined ? '' : `, redirecting to ${target}`
    found.push({ node: node.name, kind: 'queueing discipline', what: `${kind} on ${dev} in ${name}${redirect}` })
  }
  return found
}

function kindOf({ alias }: Link): HoldingKind {
  const end = parseNote(alias)?.end
  return end === undefined ? 'link' : end === 'vf' ? 'VF' : 'port'
}

function describeLink(link: Link, links: readonly Link[], netns: string): string {
  const note = parseNote(link.alias)
  const master = links.find(({ index }) => index === link.master)
  return [
    `${note === undefined ? '' : `${formatVfId(note.vf)}: `}${link.name} in ${netns}`,
    link.kind,
    link.up ? 'up' : 'down',
    link.mac,
    `MTU ${link.mtu}`,
    ...(master === undefined ? [] : [`in bridge ${master.name}`]),
    ...(link.altNames.length === 0 ? [] : [`also named ${link.altNames.join(' and ')}`]),
    ...(note === undefined || isDeepStrictEqual(link.traits, PRISTINE_TRAITS) ? [] : [JSON.stringify(link.traits)]),
    ...(note === undefined && link.alias !== '' ? [`"${link.alias}"`] : []),
  ]
    .filter((part) => part !== '')
    .join(', ')
}

async function foreignQdiscs(path: string): Promise<{ kind: string; dev: string }[]> {
  const { code, stdout, stderr } = await exec(inNetns(path, ['tc', '-j', 'qdisc', 'show']))
  if (code !== 0) throw new OffloadError('IO_FAILURE', `tc in ${path} exited with ${code}: ${stderr.trim()}`)
  return parseWith(qdiscs, JSON.parse(stdout), `queueing disciplines of ${path}`, 'UNDECODABLE').filter(
    ({ kind }) => !DEFAULT_QDISCS.has(kind),
  )
}

/**
 * Processes in namespaces of a node, and what they run: plugins that nobody waits for any more, for one. What a daemon that runs has started
 * is its own: it asks plugins for their STATUS at any time, for example.
 */
async function processHoldings(node: LabNode, netns: readonly string[]): Promise<Holding[]> {
  const inodes = new Map<string, string>()
  for (const name of netns) inodes.set(`net:[${(await stat(`${NETNS_DIR}/${name}`)).ino}]`, name)
  const daemons = [node.host.pid, node.agent.pid, node.cilium?.pid, node.card?.pid].filter((pid) => typeof pid === 'number')
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name))
  const found = await Promise.all(
    pids.map(async (pid): Promise<Holding[]> => {
      // Any of them may end while it is looked at.
      const name = inodes.get(await readlink(`/proc/${pid}/ns/net`).catch(() => ''))
      if (name === undefined || daemons.includes(Number(pid)) || daemons.includes(await parentOf(pid))) return []
      const command = (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).split('\0').join(' ').trim()
      // One that is just ending has no command line any more.
      return command === '' ? [] : [{ node: node.name, kind: 'process', what: `${command} in ${name}` }]
    }),
  )
  return found.flat()
}

/** NaN for one that has ended. */
async function parentOf(pid: string): Promise<number> {
  // The name of the program stands in parentheses before, and may hold anything.
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
  return Number(stat.slice(stat.lastIndexOf(')')).split(' ')[2] ?? NaN)
}
