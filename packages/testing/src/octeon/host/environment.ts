import type { Clock } from '@cni-offload/sdk'
import type { Background } from '../background.ts'
import type { Turnstile } from '../turnstile.ts'
import type { ControlPlane } from '../wire/control-plane.ts'
import type { Netdevs } from '../wire/netdevs.ts'
import type { FakeVfAdmin } from './vf-admin.ts'

/** Which of the host's two drivers: that of the kernel, or that of the vendor. */
export type HostDriverFlavour = 'upstream' | 'out-of-tree'

/** Wire of the host's physical function; virtual function n has that of number n + 1. */
export const PF_WIRE = 'sdp0'

/** What a card's drivers are given. */
export interface CardEnvironment {
  /** Time. */
  readonly clock: Clock
  /** The control agent as the host sees it. */
  readonly control: ControlPlane
  /** Interfaces. */
  readonly netdevs: Netdevs
  /** One change at a time. */
  readonly turnstile: Turnstile
  /** What goes on by itself. */
  readonly background: Background
  /** Functions that the firmware gives rings to. */
  readonly vfs: number
  /** Milliseconds after which a virtual function appears, each after the one before. */
  readonly vfDelayMs: number
  /** The host's driver. */
  readonly hostDriver: HostDriverFlavour
  /** What that makes of settings of VFs. */
  readonly vfAdmin: FakeVfAdmin
}
