/** What becomes of a card's control plane. */
export type ControlPlaneEvent = { readonly kind: 'ready' } | { readonly kind: 'lost'; readonly reason: string }

/**
 * The control plane of a card: the program on the DPU without which its functions do not start, get no MAC address and, after a while, no
 * carrier.
 */
export interface ControlPlane extends AsyncDisposable {
  /**
   * Brings it up and keeps it up until the signal aborts. Resolves when it is ready.
   *
   * @throws OffloadError NOT_READY or HARDWARE_FAILURE if it cannot be had; CANCELLED
   */
  start(signal: AbortSignal): Promise<void>
  /** What becomes of it, its present state first, until the signal aborts. */
  events(signal: AbortSignal): AsyncIterable<ControlPlaneEvent>
}
