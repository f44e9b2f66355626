import type { NetOp } from '@cni-offload/linux'
import { Assembler, type BpfProgram, CONTEXT, HELPER, networkOrder16, VERDICT } from '@cni-offload/linux/bpf'

/** What a pod does that has an interface for a VLAN: frames get its tag on the way out, and only frames with it come in, without. */
export function vlanInterface(vlan: number): readonly NetOp[] {
  const tag = networkOrder16(0x8100)
  const out = new Assembler().compute('mov', 2, tag).compute('mov', 3, vlan).call(HELPER.vlanPush).compute('mov', 0, VERDICT.pass).exit()
  const into = new Assembler()
  const foreign = into.label('foreign')
  into.load(4, 2, 1, CONTEXT.vlanTci).compute('and', 2, 0xfff).jumpIf(2, '!=', vlan, foreign).load(4, 2, 1, CONTEXT.vlanProtocol)
  into.jumpIf(2, '!=', tag, foreign).call(HELPER.vlanPop).compute('mov', 0, VERDICT.pass).exit()
  into.place(foreign).compute('mov', 0, VERDICT.drop).exit()
  const set = (hook: 'ingress' | 'egress', program: BpfProgram): NetOp => ({ op: 'program.set', dev: 'eth0', hook, name: 'vlan', program })
  return [set('egress', out.assemble()), set('ingress', into.assemble())]
}
