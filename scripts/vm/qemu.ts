import { join } from 'node:path'
import { TAGS } from './init.ts'

/** A virtual machine to boot. */
export interface MachineOptions {
  /** Root folder that QEMU was unpacked to; nothing of it needs to be installed. */
  readonly root: string
  /** Kernel image. */
  readonly kernel: string
  /** First file system. */
  readonly initrd: string
  /** Folder of the host that the machine can write to. */
  readonly share: string
  /** Memory, MiB. */
  readonly memory: number
  /** Processors. */
  readonly processors: number
}

/** MAC addresses of the machine's network cards: the one with SR-IOV, and the one that is on the same wire. */
export const CARDS = { pf: '52:54:00:00:00:01', wire: '52:54:00:00:00:02' } as const

/** A comma ends a value of QEMU's options, unless it is there twice. */
const value = (text: string): string => text.replaceAll(',', ',,')

const shared = (tag: string, path: string, more: string): string[] => [
  '-virtfs',
  `local,path=${value(path)},mount_tag=${tag},security_model=none,multidevs=remap${more}`,
]

/**
 * How QEMU is called: all in software, as nested virtualization cannot be relied upon. The card with SR-IOV is an Intel 82576 behind an IOMMU
 * of Intel, which vfio-pci needs.
 */
export function qemuArguments({ root, kernel, initrd, share, memory, processors }: MachineOptions): string[] {
  return [
    ...['-nodefaults', '-no-reboot', '-display', 'none', '-serial', 'stdio'],
    ...['qemu', 'seabios'].flatMap((folder) => ['-L', join(root, 'usr/share', folder)]),
    ...['-machine', 'q35,kernel-irqchip=split', '-accel', 'tcg,thread=multi', '-cpu', 'max'],
    ...['-m', String(memory), '-smp', String(processors), '-device', 'intel-iommu,intremap=on'],
    ...['-kernel', kernel, '-initrd', initrd, '-append', 'console=ttyS0 quiet panic=-1 intel_iommu=on iommu=pt'],
    ...shared(TAGS.root, '/', ',readonly=on'),
    ...shared(TAGS.share, share, ''),
    // A card has carrier only if somebody else is on its wire.
    ...['-netdev', 'hubport,id=pf,hubid=0', '-netdev', 'hubport,id=wire,hubid=0'],
    ...['-device', 'pcie-root-port,id=upstream,chassis=1', '-device', `igb,bus=upstream,netdev=pf,romfile=,mac=${CARDS.pf}`],
    ...['-device', `virtio-net-pci,netdev=wire,romfile=,mac=${CARDS.wire}`],
  ]
}

/** Environment of QEMU: it finds the libraries and parts of its own that were unpacked with it. */
export function qemuEnvironment(root: string): Record<string, string> {
  const folders = ['usr/lib/x86_64-linux-gnu', 'lib/x86_64-linux-gnu'].map((folder) => join(root, folder))
  return { LD_LIBRARY_PATH: folders.join(':'), QEMU_MODULE_DIR: join(root, 'usr/lib/x86_64-linux-gnu/qemu') }
}
