fn main() {
    print!("{}", atomix_controller::api::crds::yaml().unwrap());
}
