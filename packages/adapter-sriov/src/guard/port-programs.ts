import { createHash } from 'node:crypto'
import type { BpfProgram } from '@cni-offload/linux/bpf'
import type { VfVlan } from '@cni-offload/sdk'
import type { PortPolicy, Tagging } from '../policy/policy.ts'
import { FrameProgramBuilder } from './frame.ts'
import { limitRate } from './rate.ts'
import { guardIp, guardMac, type Identity } from './sources.ts'

/** The programs of a link, with names that say what is in them. */
export interface PortPrograms {
  /** Sees what the pod sends. */
  readonly ingress: { readonly name: string; readonly program: BpfProgram }
  /** Sees what the pod is to get. */
  readonly egress: { readonly name: string; readonly program: BpfProgram }
}

const PROTOCOL = { '802.1q': 0x8100, '802.1ad': 0x88a8 } as const
const PRIORITY_SHIFT = 13

/** What a port does with frames. @param owner - who sets it so, to be found again in the names */
export function portPrograms(owner: string, policy: PortPolicy, identity: Identity): PortPrograms {
  return { ingress: named(owner, 'in', fromPod(policy, identity)), egress: named(owner, 'out', toPod(policy.tagging)) }
}

/** Whether a program was set by this owner. */
export function isOf(owner: string, name: string): boolean {
  return name.startsWith(`${nameOf(owner)}-`)
}

/** The programs of a link that takes no part: nothing comes in and nothing goes out. */
export function closedPrograms(): PortPrograms {
  const nothing = (): BpfProgram => {
    const program = new FrameProgramBuilder()
    program.code.jump(program.drop)
    return program.build()
  }
  return { ingress: named('all', 'in', nothing()), egress: named('all', 'out', nothing()) }
}

function fromPod({ tagging, guardMac: mac, guardIp: ip, maxTxRate }: PortPolicy, identity: Identity): BpfProgram {
  const program = new FrameProgramBuilder()
  admit(program, tagging)
  if (mac) guardMac(program, identity)
  if (ip && identity.ips.length > 0) {
    // What the pod tags itself is in networks whose addresses nobody told us.
    const tagged = program.label('tagged')
    if (tagging.kind !== 'tagged') program.taggedIf(tagged)
    guardIp(program, identity, !mac)
    program.at(tagged)
  }
  if (maxTxRate > 0) limitRate(program, maxTxRate)
  tag(program, tagging)
  return program.build()
}

/** Lets only frames in that may be tagged, or not, as they are. */
function admit(program: FrameProgramBuilder, tagging: Tagging): void {
  const ok = program.label('admitted')
  switch (tagging.kind) {
    case 'untagged':
      program.taggedIf(program.drop)
      break
    case 'access':
      if (tagging.vlan.protocol === '802.1q') program.taggedIf(program.drop)
      break
    case 'tagged':
      program.untaggedIf(program.drop).protocolUnless(PROTOCOL['802.1q'], program.drop).vlanIf(tagging.id, tagging.id, ok)
      program.code.jump(program.drop)
      break
    case 'trunk':
      program.untaggedIf(tagging.native === undefined ? program.drop : ok).protocolUnless(PROTOCOL['802.1q'], program.drop)
      for (const { first, last } of tagging.ranges) program.vlanIf(first, last, ok)
      program.code.jump(program.drop)
  }
  program.at(ok)
}

/** Puts the tag on that the pod does not see. */
function tag(program: FrameProgramBuilder, tagging: Tagging): void {
  if (tagging.kind === 'access') push(program, tagging.vlan)
  if (tagging.kind !== 'trunk' || tagging.native === undefined) return
  program.taggedIf(program.pass)
  push(program, tagging.native)
}

function push(program: FrameProgramBuilder, { id, qos, protocol }: VfVlan): void {
  program.push(PROTOCOL[protocol], (qos << PRIORITY_SHIFT) | id)
}

function toPod(tagging: Tagging): BpfProgram {
  const program = new FrameProgramBuilder()
  const untag = program.label('untag')
  switch (tagging.kind) {
    case 'untagged':
      program.taggedIf(program.drop)
      program.code.jump(program.pass)
      break
    case 'access':
      program.untaggedIf(program.drop).protocolUnless(PROTOCOL[tagging.vlan.protocol], program.drop)
      program.vlanIf(tagging.vlan.id, tagging.vlan.id, untag)
      break
    case 'tagged':
      program.untaggedIf(program.drop).protocolUnless(PROTOCOL['802.1q'], program.drop).vlanIf(tagging.id, tagging.id, program.pass)
      break
    case 'trunk':
      program.untaggedIf(program.drop).protocolUnless(PROTOCOL['802.1q'], program.drop)
      if (tagging.native !== undefined) program.vlanIf(tagging.native.id, tagging.native.id, untag)
      for (const { first, last } of tagging.ranges) program.vlanIf(first, last, program.pass)
  }
  program.code.jump(program.drop)
  program.at(untag).pop()
  return program.build()
}

/** A program is told from another one by its name, which is all that can be read back. */
function named(owner: string, way: string, program: BpfProgram): PortPrograms['ingress'] {
  const digest = createHash('sha256').update(program.instructions).update(JSON.stringify(program.maps)).digest('hex').slice(0, 16)
  return { name: `${nameOf(owner)}-${way}-${digest}`, program }
}

const nameOf = (owner: string): string => `sriov-${owner}`
