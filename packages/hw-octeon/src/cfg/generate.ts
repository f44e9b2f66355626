import { createHash } from 'node:crypto'
import { parseWith } from '@cni-offload/sdk'
import { z } from 'zod'
import { AGENT_CHIPS, type AgentChip } from './chips.ts'
import { type AgentConfig, type AgentConfigChoice, type AgentInterface, LIMITS } from './model.ts'

const between = ([least, most]: readonly [number, number]): z.ZodNumber =>
  z.number().int(`a whole number is expected`).min(least, `${least} to ${most} is expected`).max(most, `${least} to ${most} is expected`)

/** Schema of {@link AgentConfigChoice}, for options of plugins and commands. */
export const agentConfigChoice: z.ZodType<AgentConfigChoice> = z.strictObject({
  node: z.string().min(1, 'the name of the node is expected').max(253, 'at most 253 characters'),
  device: z
    .string()
    .regex(/^[a-z][a-z0-9]{0,7}$/, '1 to 8 lower-case letters and digits, a letter first')
    .optional(),
  chip: z.enum(Object.keys(AGENT_CHIPS) as [AgentChip, ...AgentChip[]]).optional(),
  vfs: between([1, LIMITS.vfs]).optional(),
  heartbeat: z
    .strictObject({ intervalMs: between(LIMITS.intervalMs).optional(), missCount: between(LIMITS.missCount).optional() })
    .optional(),
  speedMbps: between(LIMITS.speedMbps).optional(),
}) as z.ZodType<AgentConfigChoice>

/**
 * A configuration of the control agent with one PCI link, its physical function and virtual ones, the addresses of which are its own:
 * locally administered, and the same whenever it is made for the same device of the same node. The configuration that comes with the
 * agent has the same addresses on every card.
 *
 * @throws OffloadError INVALID_CONFIG that names the field, its value and what is expected
 */
export function generateAgentConfig(choice: AgentConfigChoice): AgentConfig {
  const {
    node,
    device = 'octeon0',
    vfs = LIMITS.vfs,
    heartbeat,
    speedMbps = 10_000,
  } = parseWith(agentConfigChoice, choice, 'configuration of the control agent', 'INVALID_CONFIG')
  const pristine = (index: number): AgentInterface => ({
    mac: agentMac(node, device, index),
    linkUp: false,
    rxUp: false,
    autoneg: 0b11,
    pauseMode: 0b11,
    speedMbps,
    supportedModes: 1,
    advertisedModes: 1,
    pkind: 0,
  })
  const pf = {
    ...pristine(0),
    heartbeat: { intervalMs: heartbeat?.intervalMs ?? 1000, missCount: heartbeat?.missCount ?? 20 },
    vfs: Array.from({ length: vfs }, (_, index) => pristine(index + 1)),
  }
  return { pems: [{ pfs: [pf] }] }
}

/**
 * The address of a function, from a hash, locally administered and unicast.
 *
 * @param index - 0 is the physical function, n + 1 the virtual function n
 */
export function agentMac(node: string, device: string, index: number): string {
  const digest = createHash('sha256').update(`octep\0${node}\0${device}\0${index}`).digest()
  const first = (digest.readUInt8(0) & 0xfc) | 0x02
  return [first, ...digest.subarray(1, 6)].map((byte) => byte.toString(16).padStart(2, '0')).join(':')
}
